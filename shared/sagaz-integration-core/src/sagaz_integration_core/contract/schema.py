"""The tables, by name and column, the same in every store and in Django's migration; tests compare them with this."""

from __future__ import annotations

__all__ = ["SCHEMA_VERSION", "TABLES"]

SCHEMA_VERSION = 1
"""Kept in ``sagaz_meta`` under ``schema_version``; the store's random id is kept there under ``store_id``."""

TABLES: dict[str, tuple[str, ...]] = {
    "sagaz_run": (
        "saga_id", "saga_name", "status", "context", "error", "correlation_id", "attempt", "failures",
        "lease_owner", "lease_expires_at", "available_at", "created_at", "updated_at", "finished_at",
        "fingerprint", "direction", "version", "leased_at", "suspicions", "alone", "deadline", "owner",
    ),
    "sagaz_step": (
        "saga_id", "step", "phase", "status", "result", "error", "attempt", "started_at", "finished_at",
        "compensated",
    ),
    "sagaz_wait": (
        "saga_id", "step", "phase", "name", "n", "key", "until", "created_at", "outcome", "attempt", "payload",
    ),
    "sagaz_signal": (
        "id", "name", "saga_id", "key", "signal_id", "payload", "fingerprint", "created_at", "taken_at",
        "taken_by", "taken_step", "taken_phase", "seen_at",
    ),
    "sagaz_idempotency": (
        "id", "fingerprint", "saga_id", "owner", "leased_until", "answer", "created_at", "expires_at",
    ),
    "sagaz_webhook": (
        "id", "source", "delivery_id", "handler", "event_type", "received_at", "outcome", "reason", "saga_id",
        "signal", "key", "fingerprint", "body", "correlation_id",
    ),
    "sagaz_attempt": ("saga_id", "attempt", "owner", "began_at", "ended_at", "outcome", "detail", "under_way"),
    "sagaz_outbox": (
        "id", "event_id", "saga_id", "topic", "payload", "headers", "status", "attempts", "error", "available_at",
        "created_at", "sent_at",
    ),
    "sagaz_audit": ("id", "saga_id", "action", "actor", "reason", "found", "status", "at"),
    "sagaz_worker": ("name", "kind", "sagas", "alive_until"),
    "sagaz_meta": ("key", "value"),
}  # fmt: skip

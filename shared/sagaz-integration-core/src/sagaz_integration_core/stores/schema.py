"""The tables, by name and column, the same in every store and in Django's migration; tests compare them with this."""

from __future__ import annotations

__all__ = ["SCHEMA_VERSION", "TABLES"]

SCHEMA_VERSION = 1
"""Kept in ``sagaz_meta`` under ``schema_version``; the store's random id is kept there under ``store_id``."""

TABLES: dict[str, tuple[str, ...]] = {
    "sagaz_run": (
        "saga_id",
        "saga_name",
        "status",
        "context",
        "error",
        "correlation_id",
        "attempt",
        "failures",
        "lease_owner",
        "lease_expires_at",
        "available_at",
        "created_at",
        "updated_at",
        "finished_at",
        "fingerprint",
    ),
    "sagaz_step": (
        "saga_id",
        "step",
        "phase",
        "status",
        "result",
        "error",
        "attempt",
        "started_at",
        "finished_at",
    ),
    "sagaz_outbox": (
        "id",
        "event_id",
        "saga_id",
        "topic",
        "payload",
        "headers",
        "status",
        "attempts",
        "error",
        "available_at",
        "created_at",
        "sent_at",
    ),
    "sagaz_audit": (
        "id",
        "saga_id",
        "action",
        "actor",
        "reason",
        "found",
        "status",
        "at",
    ),
    "sagaz_meta": ("key", "value"),
}

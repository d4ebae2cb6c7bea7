"""Searching runs, events and signals by what an index knows."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from django_sagaz.admin.changelist import SCANNED

__all__ = ["FOUND", "found_events", "found_runs", "found_signals", "found_webhooks"]

FOUND = 500
"""How many rows a search finds at most."""

_LAST = "\U0010ffff"


def found_runs(runs: QuerySet[Any], term: str) -> list[str]:
    """Return the ids of runs whose saga_id begins so, with this correlation id, of this owner; else those of this saga.

    Each question goes along one index, and has a limit: one condition with OR would be looked for in every row.
    """
    found = set(_beginning(runs, "saga_id", term))
    found |= set(runs.filter(correlation_id=term).values_list("pk", flat=True)[:FOUND])
    newest = runs.order_by("-created_at", "-saga_id")
    found |= set(newest.filter(owner=term).values_list("pk", flat=True)[:FOUND])
    return list(found)[:FOUND] or _of_saga(runs, term)


def _of_saga(runs: QuerySet[Any], name: str) -> list[str]:
    newest = runs.order_by("-created_at", "-saga_id")
    last = list(newest.values_list("created_at", flat=True)[SCANNED - 1 : SCANNED])
    if last:
        newest = newest.filter(created_at__gte=last[0])
    return list(newest.filter(saga_name=name).values_list("pk", flat=True)[:FOUND])


def found_events(events: QuerySet[Any], term: str) -> list[int]:
    """Return the ids of events whose event_id begins so, or that tell of the run with this saga_id."""
    found = set(_beginning(events, "event_id", term))
    found |= set(events.filter(saga_id=term).values_list("pk", flat=True)[:FOUND])
    return list(found)[:FOUND]


def found_signals(signals: QuerySet[Any], term: str) -> list[str]:
    """Return the ids of signals to saga_ids or keys that begin so, and of those that the run of a saga_id has taken."""
    found = set(_beginning(signals, "saga_id", term)) | set(_beginning(signals, "key", term))
    found |= set(signals.filter(taken_by=term).values_list("pk", flat=True)[:FOUND])
    return list(found)[:FOUND]


def found_webhooks(events: QuerySet[Any], term: str) -> list[str]:
    """Return the ids of events whose delivery ids begin so, and of those that led to the run with this saga_id."""
    found = set(_beginning(events, "delivery_id", term))
    found |= set(events.filter(saga_id=term).values_list("pk", flat=True)[:FOUND])
    return list(found)[:FOUND]


def _beginning(rows: QuerySet[Any], field: str, term: str) -> list[Any]:
    # Not LIKE, for which an index serves on some databases only; these keys are compared character by character.
    in_range = rows.filter(**{f"{field}__gte": term, f"{field}__lt": term + _LAST})
    return list(in_range.order_by(field).values_list("pk", flat=True)[:FOUND])

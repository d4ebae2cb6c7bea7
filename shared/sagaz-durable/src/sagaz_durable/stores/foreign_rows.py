"""Rows that unmodified sagaz code saves: what is taken from its metadata, and the refusal to touch a run of ours."""

from __future__ import annotations

from typing import Any

__all__ = ["correlation_id_of", "taken"]


def correlation_id_of(metadata: dict[str, Any]) -> str | None:
    """Return the correlation id, the one thing in sagaz's metadata for which a run has a column."""
    value = metadata.get("correlation_id")
    return value if isinstance(value, str) else None


def taken(saga_id: str) -> ValueError:
    """Return the error for a saga_id that a durable run has."""
    return ValueError(
        f"saga_id {saga_id!r} belongs to a durable run, which only its own worker may write. Save the state of a saga "
        "that sagaz itself executes under a saga_id of its own."
    )

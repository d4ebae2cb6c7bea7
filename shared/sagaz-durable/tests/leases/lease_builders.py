"""Short words for what the lease tests pass around."""

from __future__ import annotations

from typing import Any

from sagaz_integration_core.contract.records import ClaimedRun

__all__ = ["claimed"]


def claimed(saga_id: str = "run-1", attempt: int = 1, **values: Any) -> ClaimedRun:
    return ClaimedRun(saga_id, "Order", "executing", "{}", None, None, attempt, values.pop("failures", 0), **values)

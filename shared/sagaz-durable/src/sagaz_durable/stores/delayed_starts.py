"""Which delayed events start their runs now, by the same rules in every store; called inside of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sagaz_integration_core.contract.webhooks import DELAYED_UNTIL, StartLimit

__all__ = ["DelayedRows", "deadline_from", "start_delayed"]


class DelayedRows(Protocol):
    """What a store does inside of a transaction that nobody else's is beside."""

    def now(self) -> datetime:
        """Return the time by the store's clock, aware."""
        ...

    def delayed(self, handler: str) -> Sequence[str]:
        """Return the saga_ids of its delayed events, the oldest first."""
        ...

    def under_way(self, limit: StartLimit) -> int:
        """Return how many of its runs have started and not ended."""
        ...

    def started_since(self, limit: StartLimit, since: datetime) -> int:
        """Return how many of its runs have started after this."""
        ...

    def start_now(self, saga_id: str, moment: datetime) -> None:
        """Make a run due if it is still delayed, and note with all of its delayed events that it was started."""
        ...


def start_delayed(rows: DelayedRows, limit: StartLimit) -> int:
    """Start as many runs as there is room for; see `WebhookStore.start_delayed`."""
    waiting = list(dict.fromkeys(rows.delayed(limit.handler)))
    if not waiting:
        return 0
    moment = rows.now()
    started = 0 if limit.starts is None else rows.started_since(limit, limit.since(moment))
    under_way = 0 if limit.max_concurrent is None else rows.under_way(limit)
    chosen = waiting[: limit.room(under_way, started)]
    for saga_id in chosen:
        rows.start_now(saga_id, moment)
    return len(chosen)


def deadline_from(deadline: datetime | None, moment: datetime) -> datetime | None:
    """Return the deadline of a run that was delayed and starts now."""
    if deadline is None or deadline < DELAYED_UNTIL:
        return deadline
    return moment + timedelta(seconds=(deadline - DELAYED_UNTIL).total_seconds())

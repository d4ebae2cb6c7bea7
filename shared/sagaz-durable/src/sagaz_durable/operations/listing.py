"""Runs page by page, the newest first, for an application's own code: a support page, an HTTP route."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.statuses import ACTIVE, FINISHED, RunStatus
from sagaz_integration_core.errors import InvalidInput

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope
    from sagaz_integration_core.contract.records import RunRecord

__all__ = ["Listing", "RunPage"]

_MOST = 500
_MOST_CHARACTERS = 2_000
_STATUSES = (*ACTIVE, *FINISHED)


@record
class RunPage:
    """Some runs, the newest first.

    Attributes:
        cursor: What `Listing.list_runs` takes for the runs that follow; None when there are none.
    """

    runs: tuple[RunRecord, ...]
    cursor: str | None = None


class Listing:
    """Lists runs.

    Args:
        scope: The application's open runtime; Django's plugin needs none.
    """

    def __init__(self, scope: ReachableScope) -> None:
        self._scope = scope

    async def list_runs(
        self,
        *,
        statuses: Collection[RunStatus] = (),
        saga_name: str | None = None,
        owner: str | None = None,
        correlation_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """Return a page of the runs that match, the newest first; ``page.cursor`` leads to the next one.

        However many runs there are or begin meanwhile, pages have no gap and no run twice.

        Args:
            statuses: Any of these; all by default.
            saga_name, owner, correlation_id: Exactly these; any by default.
            limit: The most runs of one page, 1 to 500.
            cursor: Of the page before, which was asked for with the same filters; clients may be given it.

        Raises:
            InvalidInput: A status or the limit is none, or the cursor was not made by this.
            StoreUnavailable: The store cannot be asked.
        """
        if unknown := [status for status in statuses if status not in _STATUSES]:
            raise InvalidInput(f"{len(unknown)} of the statuses is none: expected are {', '.join(_STATUSES)}.")
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST:
            raise InvalidInput(f"limit must be a whole number, 1 to {_MOST}.")
        before = None if cursor is None else _read(cursor)
        if not findable(saga_name, owner, correlation_id):
            return RunPage(())
        # One more than asked for tells whether others follow.
        from sagaz_integration_core.contract.listings import RunFilter

        query = RunFilter(tuple(statuses), saga_name, correlation_id, owner, limit + 1, before)
        found = await self._scope.reach(lambda: self._scope.store.find(query))
        runs = tuple(found[:limit])
        return RunPage(runs, _cursor(runs[-1]) if len(found) > limit else None)

    def list_runs_sync(
        self,
        *,
        statuses: Collection[RunStatus] = (),
        saga_name: str | None = None,
        owner: str | None = None,
        correlation_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """Do as `list_runs`, in synchronous code."""
        return self._scope.call(
            lambda: self.list_runs(
                statuses=statuses, saga_name=saga_name, owner=owner, correlation_id=correlation_id, limit=limit,
                cursor=cursor,
            )
        )  # fmt: skip


def _cursor(last: RunRecord) -> str:
    return urlsafe_b64encode(f"{last.created_at.isoformat()} {last.saga_id}".encode()).decode().rstrip("=")


def _read(cursor: object) -> tuple[datetime, str]:
    try:
        if not isinstance(cursor, str) or len(cursor) > _MOST_CHARACTERS:
            raise ValueError
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, saga_id = datetime.fromisoformat(text.partition(" ")[0]), text.partition(" ")[2]
        # What is near the ends of the calendar is no time in every zone.
        if moment.utcoffset() != timedelta(0) or not 1970 <= moment.year < 9000 or not findable(saga_id):
            raise ValueError
    except (ValueError, binascii.Error):
        raise InvalidInput("The cursor is not one that a page of runs came with; begin without one.") from None
    return moment, saga_id

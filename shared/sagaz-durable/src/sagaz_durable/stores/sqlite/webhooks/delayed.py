"""Events whose runs start when the limits of their trigger allow it."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from sagaz_durable.stores.delayed_starts import deadline_from
from sagaz_durable.stores.delayed_starts import start_delayed as start_in_turn
from sagaz_durable.stores.sqlite.rows import now, stamp, when
from sagaz_integration_core.contract.webhooks import DELAYED_UNTIL, StartLimit

__all__ = ["count_delayed", "start_delayed"]

_COUNT = "SELECT count(*) FROM sagaz_webhook WHERE outcome = 'delayed'"
_DELAYED = "SELECT saga_id FROM sagaz_webhook WHERE outcome = 'delayed' AND handler = ? ORDER BY received_at, id"
_OF_TRIGGER = """
    EXISTS (SELECT 1 FROM sagaz_webhook AS event
        WHERE event.saga_id = run.saga_id AND event.handler = ? AND event.outcome = 'started')
"""
_UNDER_WAY = f"""
    SELECT count(*) FROM sagaz_run AS run
    WHERE status IN ('pending', 'executing', 'compensating', 'waiting') AND saga_name = ? AND {_OF_TRIGGER}
"""  # noqa: S608
_STARTED = f"SELECT count(*) FROM sagaz_run AS run WHERE created_at > ? AND saga_name = ? AND {_OF_TRIGGER}"  # noqa: S608
_FIND = "SELECT deadline FROM sagaz_run WHERE saga_id = ? AND status = 'pending' AND available_at = ?"
_START = """
    UPDATE sagaz_run SET available_at = ?, created_at = ?, updated_at = ?, deadline = ?, version = version + 1
    WHERE saga_id = ?
"""
_TELL = "UPDATE sagaz_webhook SET outcome = 'started' WHERE saga_id = ? AND outcome = 'delayed'"


class _Delayed:
    """What the rules ask for."""

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite

    def now(self) -> datetime:
        return now()

    def delayed(self, handler: str) -> list[str]:
        return [saga_id for (saga_id,) in self._sqlite.execute(_DELAYED, (handler,))]

    def under_way(self, limit: StartLimit) -> int:
        return int(self._sqlite.execute(_UNDER_WAY, (limit.saga_name, limit.handler)).fetchone()[0])

    def started_since(self, limit: StartLimit, since: datetime) -> int:
        values = (stamp(since), limit.saga_name, limit.handler)
        return int(self._sqlite.execute(_STARTED, values).fetchone()[0])

    def start_now(self, saga_id: str, moment: datetime) -> None:
        found = self._sqlite.execute(_FIND, (saga_id, stamp(DELAYED_UNTIL))).fetchone()
        if found is not None:
            deadline, at = deadline_from(when(found[0]), moment), stamp(moment)
            due = None if deadline is None else stamp(deadline)
            self._sqlite.execute(_START, (at, at, at, due, saga_id))
        self._sqlite.execute(_TELL, (saga_id,))


def start_delayed(sqlite: sqlite3.Connection, limit: StartLimit) -> int:
    """Start the runs of a trigger's delayed events as far as there is room; return how many."""
    return start_in_turn(_Delayed(sqlite), limit)


def count_delayed(sqlite: sqlite3.Connection) -> int:
    """Return how many events are delayed."""
    return int(sqlite.execute(_COUNT).fetchone()[0])

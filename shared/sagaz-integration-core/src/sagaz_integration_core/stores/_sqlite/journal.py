"""What running sagas record: journal entries, events and their own end, fenced by owner and attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sagaz_integration_core.records import FINISHED, RunWrite
from sagaz_integration_core.stores._sqlite.outbox import INSERT_EVENT
from sagaz_integration_core.stores._sqlite.rows import after, now, stamp, step_row
from sagaz_integration_core.stores._sqlite.sql import (
    FENCE,
    FINISH,
    RELEASE,
    SET_STATUS,
    UPSERT_STEP,
)

__all__ = ["write"]


def write(sqlite: sqlite3.Connection, writes: Sequence[RunWrite]) -> list[bool]:
    """Record the writes in order; False for each whose run is not its owner's any more."""
    moment = now()
    stamped = stamp(moment)
    # Only a run's own row decides about the fence, so that the rest can follow in two statements for all.
    answers = [_write_run(sqlite, write, _parameters(write, moment, stamped)) for write in writes]
    kept = [write for write, accepted in zip(writes, answers, strict=True) if accepted]
    sqlite.executemany(UPSERT_STEP, [step_row(write, step, stamped) for write in kept for step in write.steps])
    sqlite.executemany(
        INSERT_EVENT,
        [
            (event.event_id, write.saga_id, event.topic, event.payload, event.headers, stamped, stamped)
            for write in kept
            for event in write.events
        ],
    )
    return answers


def _write_run(sqlite: sqlite3.Connection, write: RunWrite, parameters: dict[str, Any]) -> bool:
    if write.status in FINISHED:
        return sqlite.execute(FINISH, parameters).rowcount == 1
    if write.release is not None:
        return sqlite.execute(RELEASE, parameters).rowcount == 1
    if write.status is not None or write.error is not None:
        return sqlite.execute(SET_STATUS, parameters).rowcount == 1
    return sqlite.execute(FENCE, parameters).fetchone() is not None


def _parameters(write: RunWrite, moment: Any, stamped: str) -> dict[str, Any]:
    release = write.release
    return {
        "saga_id": write.saga_id,
        "owner": write.owner,
        "attempt": write.attempt,
        "status": write.status,
        "error": write.error,
        "now": stamped,
        "failed": release is not None and release.failed,
        "available": None if release is None else after(moment, release.delay),
    }

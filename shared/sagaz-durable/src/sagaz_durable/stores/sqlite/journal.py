"""What running sagas record: journal entries, events and their own end, fenced by owner and attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sagaz_durable.stores.ended_leases import released
from sagaz_durable.stores.sqlite.attempts import end_attempt
from sagaz_durable.stores.sqlite.outbox import insert_of_run
from sagaz_durable.stores.sqlite.rows import after, now, stamp, step_row
from sagaz_durable.stores.sqlite.sql import FINISH, RELEASE, SET_STATUS, UPSERT_STEP
from sagaz_durable.stores.sqlite.waits import record_waits
from sagaz_integration_core.contract.records import FINISHED, RunWrite

__all__ = ["parameters", "write"]


def write(sqlite: sqlite3.Connection, writes: Sequence[RunWrite]) -> list[bool | None]:
    """Record the writes in order; False for each whose run is not its owner's any more."""
    moment = now()
    stamped = stamp(moment)
    # Only a run's own row decides about the fence, so that the rest can follow in two statements for all.
    answers: list[bool | None] = [
        sqlite.execute(_statement(write), parameters(write, moment, stamped)).rowcount == 1 for write in writes
    ]
    kept = [write for write, accepted in zip(writes, answers, strict=True) if accepted]
    sqlite.executemany(UPSERT_STEP, [step_row(write, step, stamped) for write in kept for step in write.steps])
    for write in kept:
        record_waits(sqlite, write, stamped)
        insert_of_run(sqlite, write.saga_id, write.events, stamped)
    for write in kept:
        _end_attempt(sqlite, write, stamped)
    return answers


def _end_attempt(sqlite: sqlite3.Connection, write: RunWrite, stamped: str) -> None:
    attempt = (write.saga_id, write.owner, write.attempt)
    if write.status == "failed":
        end_attempt(sqlite, *attempt, "failed", write.error, stamped)
    elif write.release is not None and not write.release.waits:
        end_attempt(sqlite, *attempt, released(write.release), write.release.detail, stamped)


def _statement(write: RunWrite) -> str:
    if write.status in FINISHED:
        return FINISH
    return SET_STATUS if write.release is None else RELEASE


def parameters(write: RunWrite, moment: Any, stamped: str) -> dict[str, Any]:
    """Return the parameters of the statement that a write's fence is in."""
    release = write.release
    return {
        "saga_id": write.saga_id,
        "owner": write.owner,
        "attempt": write.attempt,
        "status": write.status,
        "error": write.error,
        "now": stamped,
        "progress": write.progress,
        "failed": release is not None and release.failed,
        "available": None if release is None else after(moment, release.delay),
    }

"""What running sagas record: journal entries, events and their own end, fenced by owner and attempt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sagaz_durable.stores.ended_leases import released
from sagaz_durable.stores.postgresql.database.errors import ConnectionLost, RowsLocked
from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.sql import SETTLED, WRITE
from sagaz_durable.stores.postgresql.waits import wait_rows
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import FINISHED, AttemptOutcome, RunWrite, StepWrite

__all__ = ["recording", "write"]


_LOCKED = """
SELECT given.n FROM (
    SELECT * FROM json_to_recordset(%s::text::json) AS rows (n integer, saga_id text) LIMIT %s
) AS given
WHERE (SELECT count(*) FROM {schema}.sagaz_step AS entry WHERE entry.saga_id = given.saga_id)
        > (SELECT count(*) FROM (SELECT FROM {schema}.sagaz_step AS entry WHERE entry.saga_id = given.saga_id
            FOR NO KEY UPDATE SKIP LOCKED) AS free)
    OR (SELECT count(*) FROM {schema}.sagaz_wait AS wait WHERE wait.saga_id = given.saga_id)
        > (SELECT count(*) FROM (SELECT FROM {schema}.sagaz_wait AS wait WHERE wait.saga_id = given.saga_id
            FOR NO KEY UPDATE SKIP LOCKED) AS free)
"""
"""The runs of which another transaction has locked a journal entry or a wait."""


class _Tenure:
    """The writes of one owner and attempt, folded into one: they are recorded together, or not at all."""

    def __init__(self, write: RunWrite) -> None:
        self.saga_id, self.owner, self.attempt = write.saga_id, write.owner, write.attempt
        self.writes = 0
        self.status: str | None = None
        self.error: str | None = None
        self.delay: float | None = None
        self.failed = 0
        self.outcome: AttemptOutcome | None = None
        self.detail: str | None = None
        self.finished = False
        self.back = False
        self.progress = False
        # By step and phase, the entry and the one with which it started, if that is among them.
        self.steps: dict[tuple[str, str], tuple[StepWrite, StepWrite | None]] = {}
        self.events: list[EventWrite] = []
        self.waits: list[dict[str, Any]] = []
        self.left_waits: list[dict[str, Any]] = []
        self.parks = self.by_deadline = self.stops_waiting = False

    @property
    def concerns_waits(self) -> bool:
        """Whether it registers, leaves or begins waits."""
        return bool(self.waits or self.left_waits or self.parks or self.stops_waiting)

    @property
    def ended(self) -> bool:
        """Whether the lease is given back, so that what comes later is fenced out."""
        return self.finished or self.delay is not None

    def add(self, write: RunWrite) -> None:
        """Fold the next write in."""
        self.writes += 1
        for step in write.steps:
            self._add_step(step)
        self.events += write.events
        self.status = write.status or self.status
        self.error = write.error if write.error is not None else self.error
        self.finished = write.status in FINISHED
        self.back = self.back or write.status == "compensating"
        self.progress = self.progress or write.progress
        self.stops_waiting = self.stops_waiting or write.stops_waiting
        if write.waits or write.left_waits or write.missed_waits:
            self._add_waits(write)
        if write.status == "failed":
            self.outcome = "failed"
        if write.release is not None:
            self.delay, self.failed = write.release.delay, int(write.release.failed)
            self.parks, self.by_deadline = write.release.waits, write.release.by_deadline
            if not self.parks:
                self.outcome, self.detail = released(write.release), write.release.detail

    def _add_waits(self, write: RunWrite) -> None:
        left = [{"step": step, "phase": phase} for step, phase in write.left_waits]
        self.left_waits += left + [{"step": step, "phase": phase, "missed": True} for step, phase in write.missed_waits]
        # What was not there yet is not missed, and what is left now is not there any more.
        gone = {(call["step"], call["phase"]) for call in left}
        self.waits = [wait for wait in self.waits if (wait["step"], wait["phase"]) not in gone] + wait_rows(write)

    def _add_step(self, step: StepWrite) -> None:
        key = (step.step, step.phase)
        # A later entry takes its place in the order of the starts; one that only ends keeps the start before it.
        _, started = self.steps.pop(key, (step, None))
        self.steps[key] = (step, step if step.status == "started" else started)

    def row(self, n: int) -> dict[str, Any]:
        """Return what ``WRITE`` expects; what is not there, or not so, is NULL, and costs neither side anything."""
        row: dict[str, Any] = {
            "n": n,
            "saga_id": self.saga_id,
            "owner": self.owner,
            "attempt": self.attempt,
            "writes": self.writes,
            "steps": [_step_row(i, step, start) for i, (step, start) in enumerate(self.steps.values())],
        }
        if self.progress:
            row["progress"] = True
        if self.back:
            row["back"] = True
        if self.status is not None:
            row |= {"status": self.status, "finished": self.finished}
        if self.outcome is not None:
            row |= {"outcome": self.outcome, "detail": self.detail}
        if self.error is not None:
            row["error"] = self.error
        if self.delay is not None:
            row |= {"delay": self.delay, "failed": self.failed}
        if self.concerns_waits:
            row |= {"parks": self.parks, "waits": self.waits, "left_waits": self.left_waits}
            row |= {"by_deadline": self.by_deadline, "stops_waiting": self.stops_waiting}
        if self.events:
            row["events"] = [
                {"event_id": event.event_id, "topic": event.topic, "payload": event.payload, "headers": event.headers}
                for event in self.events
            ]
        return row


def _step_row(n: int, step: StepWrite, start: StepWrite | None) -> dict[str, Any]:
    row: dict[str, Any] = {"n": n, "step": step.step, "phase": step.phase, "status": step.status}
    if start is not None:
        row["starts"] = True
        if start.compensated and step.phase == "do":
            row["compensated"] = True
    if step.status != "started":
        if step.result is not None:
            row["result"] = step.result
        if step.error is not None:
            row["error"] = step.error
    return row


def recording(write: RunWrite) -> tuple[str, tuple[str, int]]:
    """Return what records one write of steps and events, to be executed in somebody's transaction, with its values.

    Of its rows, the first one has whether it was recorded: None if another transaction has locked the run's row. There
    is none for a run that is not its owner's any more.
    """
    tenure = _Tenure(write)
    tenure.add(write)
    statement = WRITE[False, bool(tenure.events), tenure.concerns_waits]
    return statement, (json.dumps([tenure.row(0)], ensure_ascii=False), 1)


async def write(db: Database, writes: Sequence[RunWrite]) -> list[bool | None]:
    """Record the writes in order; False for each whose run is not its owner's any more, None for a locked row."""
    tenures: dict[tuple[str, int, str], _Tenure] = {}
    places: list[_Tenure | None] = []
    for write in writes:
        tenure = tenures.setdefault((write.saga_id, write.attempt, write.owner), _Tenure(write))
        if tenure.ended:
            places.append(None)
        else:
            tenure.add(write)
            places.append(tenure)
    with db.in_use():
        answers = await _commit(db, [tenures[key] for key in sorted(tenures)]) if tenures else {}
    return [False if tenure is None else answers.get(tenure, False) for tenure in places]


async def _commit(db: Database, tenures: Sequence[_Tenure]) -> dict[_Tenure, bool | None]:
    """Commit all of them, but for those of which another transaction has locked something."""
    try:
        return await _commit_all(db, tenures)
    except RowsLocked:
        given = json.dumps([{"n": n, "saga_id": tenure.saga_id} for n, tenure in enumerate(tenures)])
        locked = {n for (n,) in await db.execute(_LOCKED, (given, len(tenures)))}
        if not locked:
            raise
    free = [tenure for n, tenure in enumerate(tenures) if n not in locked]
    answers: dict[_Tenure, bool | None] = {tenures[n]: None for n in locked}
    return answers | await _commit(db, free) if free else answers


async def _commit_all(db: Database, tenures: Sequence[_Tenure]) -> dict[_Tenure, bool | None]:
    given = json.dumps([tenure.row(n) for n, tenure in enumerate(tenures)], ensure_ascii=False)
    ended = any(tenure.outcome is not None for tenure in tenures)
    waits = any(tenure.concerns_waits for tenure in tenures)
    statement = WRITE[ended, any(tenure.events for tenure in tenures), waits]
    try:
        rows = await db.execute_once(statement, (given, len(tenures)))
    except ConnectionLost:
        # Written twice, the same entries replace themselves. Only what gave its lease back, if that was committed, is
        # fenced out now, and has to be recognised.
        await db.mend()
        rows = await db.execute_once(statement, (given, len(tenures)))
        rows += [(n, True) for (n,) in await db.execute(SETTLED, (given,))]
    return {tenures[row[0]]: row[1] for row in rows}

"""What running sagas record: journal entries, events and their own end, fenced by owner and attempt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sagaz_integration_core.outbox import EventWrite
from sagaz_integration_core.records import FINISHED, RunWrite, StepWrite
from sagaz_integration_core.stores._postgresql.database import Database
from sagaz_integration_core.stores._postgresql.errors import ConnectionLost
from sagaz_integration_core.stores._postgresql.sql import SETTLED, WRITE

__all__ = ["write"]


class _Tenure:
    """The writes of one owner and attempt, folded into one: they are recorded together, or not at all."""

    def __init__(self, write: RunWrite) -> None:
        self.saga_id, self.owner, self.attempt = write.saga_id, write.owner, write.attempt
        self.status: str | None = None
        self.error: str | None = None
        self.delay: float | None = None
        self.failed = 0
        self.finished = False
        self.steps: dict[tuple[str, str], tuple[StepWrite, bool]] = {}
        self.events: list[EventWrite] = []

    @property
    def ended(self) -> bool:
        """Whether the lease is given back, so that what comes later is fenced out."""
        return self.finished or self.delay is not None

    def add(self, write: RunWrite) -> None:
        """Fold the next write in."""
        for step in write.steps:
            self._add_step(step)
        self.events += write.events
        self.status = write.status or self.status
        self.error = write.error if write.error is not None else self.error
        self.finished = write.status in FINISHED
        if write.release is not None:
            self.delay, self.failed = write.release.delay, int(write.release.failed)

    def _add_step(self, step: StepWrite) -> None:
        key = (step.step, step.phase)
        # A later entry takes its place in the order of the starts; one that only ends keeps the start before it.
        started = step.status == "started"
        _, started_before = self.steps.pop(key, (step, False))
        self.steps[key] = (step, started or started_before)

    def row(self, n: int) -> dict[str, Any]:
        """Return what ``WRITE`` expects."""
        return {
            "n": n,
            "saga_id": self.saga_id,
            "owner": self.owner,
            "attempt": self.attempt,
            "status": self.status,
            "finished": self.finished,
            "error": self.error,
            "delay": self.delay,
            "failed": self.failed,
            "steps": [_step_row(i, step, starts) for i, (step, starts) in enumerate(self.steps.values())],
            "events": [
                {"event_id": event.event_id, "topic": event.topic, "payload": event.payload, "headers": event.headers}
                for event in self.events
            ],
        }


def _step_row(n: int, step: StepWrite, starts: bool) -> dict[str, Any]:
    ends = step.status != "started"
    return {
        "n": n,
        "step": step.step,
        "phase": step.phase,
        "status": step.status,
        "result": step.result if ends else None,
        "error": step.error if ends else None,
        "starts": starts,
    }


async def write(db: Database, writes: Sequence[RunWrite]) -> list[bool]:
    """Record the writes in order; False for each whose run is not its owner's any more."""
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
        accepted = await _commit(db, [tenures[key] for key in sorted(tenures)]) if tenures else set()
    return [tenure in accepted for tenure in places]


async def _commit(db: Database, tenures: Sequence[_Tenure]) -> set[_Tenure | None]:
    given = json.dumps([tenure.row(n) for n, tenure in enumerate(tenures)], ensure_ascii=False)
    try:
        accepted = await db.execute_once(WRITE, (given, len(tenures)))
    except ConnectionLost:
        # Written twice, the same entries replace themselves. Only what gave its lease back, if that was committed, is
        # fenced out now, and has to be recognised.
        await db.mend()
        accepted = await db.execute_once(WRITE, (given, len(tenures)))
        accepted += await db.execute(SETTLED, (given,))
    return {tenures[row[0]] for row in accepted}

"""Claims on the memory store: leases that ended are settled, and what is due goes to its new owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sagaz_durable.stores.ended_leases import Verdict, jitter, most_alone, verdict
from sagaz_durable.stores.memory import mutations as changes
from sagaz_durable.stores.memory.runs import Runs
from sagaz_durable.stores.memory.waits import Waits
from sagaz_durable.stores.wanted_runs import half_of
from sagaz_integration_core.contract.listings import WorkerRecord
from sagaz_integration_core.contract.records import (
    AttemptOutcome,
    ClaimedRun,
    FirstSteps,
    RunRecord,
    StepWrite,
    begun_by_claim,
    resumed_by_claim,
)
from sagaz_integration_core.contract.waits import WaitRecord

__all__ = ["Claim"]


class Claim:
    """One claim, at one moment.

    Args:
        workers: The processes that are alive.
        sagas: Those that the claimer knows, with their first steps.
    """

    def __init__(
        self,
        runs: Runs,
        waits: Waits,
        workers: Mapping[str, WorkerRecord],
        moment: datetime,
        lease_seconds: float,
        sagas: FirstSteps,
    ) -> None:
        self._runs = runs
        self._waits = waits
        self._workers = workers
        self._moment = moment
        self._lease_seconds = lease_seconds
        self._sagas = sagas

    def take(self, owner: str, limit: int, saga_ids: Sequence[str] | None, *, alone: bool) -> list[ClaimedRun]:
        """Lease due runs to ``owner``, the oldest first."""
        if alone:
            limit = min(limit, self._room())
        oldest = self._next(saga_ids, alone=alone)
        woken = oldest is not None and oldest.status == "waiting" and saga_ids is None
        # Thousands may wake up at the same moment: they have half of the claim, and the rest is for others.
        places = half_of(limit) if woken else limit
        taken: list[ClaimedRun] = []
        while len(taken) < limit:
            row = self._next(saga_ids, alone=alone, woken=places > 0)
            if row is None and not taken:
                row = self._next(saga_ids, alone=alone)
            if row is None:
                break
            places -= row.status == "waiting"
            ended = self._settle(row)
            if ended != "suspects":
                taken.append(self._lease(row, owner, ended))
        return taken

    def _room(self) -> int:
        """Return whether there is room for one more run that is executed alone."""
        rows = self._runs.rows.values()
        busy = sum(row.alone and row.saga_name in self._sagas and self._is_leased(row) for row in rows)
        able = sum(
            worker.kind == "worker" and not self._sagas.keys().isdisjoint(worker.sagas)
            for worker in self._workers.values()
        )
        return int(busy < most_alone(able))

    def _is_leased(self, row: RunRecord) -> bool:
        return row.lease_expires_at is not None and row.lease_expires_at > self._moment

    def _next(self, saga_ids: Sequence[str] | None, *, alone: bool, woken: bool = True) -> RunRecord | None:
        if saga_ids is None:
            waiting = (False, True) if woken else (False,)
            return self._runs.next_due(self._moment, self._sagas, alone=alone, waiting=waiting)
        return self._runs.due_of(saga_ids, self._moment, self._sagas, alone=alone)

    def _settle(self, row: RunRecord) -> Verdict | None:
        """Settle the lease that is still there: it has ended without a release."""
        owner = row.lease_owner
        if owner is None:
            return None
        leased = self._runs.of_owner(owner)
        ended = verdict(lives=owner in self._workers, company=len(leased) > 1 or self._runs.saw_die(owner))
        if ended != "suspects":
            self._end(row, ended)
            return ended
        for suspect in leased:
            if not self._is_leased(suspect):
                self._end(suspect, ended)
                self._runs.put(changes.suspected(suspect, self._moment, jitter(self._lease_seconds)))
        return ended

    def _end(self, row: RunRecord, ended: Verdict) -> None:
        outcome: AttemptOutcome = "lost" if ended == "lost" else "died"
        journal = self._runs.journal(row.saga_id)
        self._runs.end_attempt(changes.attempted(row, journal, outcome, None, row.lease_expires_at))

    def _lease(self, row: RunRecord, owner: str, ended: Verdict | None) -> ClaimedRun:
        leased = changes.leased(row, owner, self._moment, self._lease_seconds, charged=ended == "charged")
        begun = begun_by_claim(leased.saga_name, leased.attempt, self._sagas)
        last = self._runs.attempts(row.saga_id)[-1:]
        after_death = any(one.attempt == row.attempt and one.outcome in ("died", "lost") for one in last)
        waits = self._waits.settle(row.saga_id, leased.attempt, self._moment)
        self._resume(leased, waits)
        claimed = changes.claimed(leased, self._runs.journal(row.saga_id), begun, waits, after_death=after_death)
        self._runs.put(leased)
        for step in begun:
            self._runs.enter(changes.begun(leased, step))
        return claimed

    def _resume(self, leased: RunRecord, waits: Sequence[WaitRecord]) -> None:
        for step, phase in resumed_by_claim(waits, leased.attempt, leased.direction):
            old = self._runs.entry(leased.saga_id, step, phase)
            if old is not None and old.status == "waiting":
                again = StepWrite(step, phase, "started", compensated=old.compensated)
                self._runs.enter(changes.entered(old, leased.saga_id, leased.attempt, again, self._moment))

"""All that a memory store keeps, and what inserts, writes, signals and removals make of it; called under its lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sagaz_durable.stores.ended_leases import released
from sagaz_durable.stores.memory import mutations as changes
from sagaz_durable.stores.memory.outbox import Outbox
from sagaz_durable.stores.memory.runs import Runs
from sagaz_durable.stores.memory.waits import Waits
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.events import of_run
from sagaz_integration_core.contract.listings import WorkerRecord
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import FINISHED, AttemptOutcome, Inserted, NewRun, RunRecord, RunWrite
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import WebhookRecord

__all__ = ["RequestKey", "Rows"]


@record
class RequestKey:
    """One key: whose it is, until when, and the answer."""

    fingerprint: str
    saga_id: str | None
    owner: str | None
    leased_until: datetime | None
    answer: str | None
    expires_at: datetime

    def is_held(self, moment: datetime) -> bool:
        """Whether somebody executes its request."""
        return self.leased_until is not None and self.leased_until > moment


class Rows:
    """Runs, what they wait for, events, the processes that execute runs, the keys of requests, and webhooks.

    Args:
        keep_finished: How many finished runs are kept, and how many sent events.
    """

    def __init__(self, keep_finished: int) -> None:
        self.runs = Runs()
        self.outbox = Outbox(keep_finished)
        self.waits = Waits(keep_finished)
        self.workers: dict[str, WorkerRecord] = {}
        self.request_keys: dict[str, RequestKey] = {}
        self.webhooks: dict[str, WebhookRecord] = {}
        self._keep_finished = keep_finished

    def living(self, moment: datetime) -> dict[str, WorkerRecord]:
        """Return the processes that are alive, by name."""
        return {name: worker for name, worker in self.workers.items() if worker.alive_until > moment}

    def insert(self, run: NewRun, moment: datetime, lease_seconds: float) -> Inserted:
        """Insert a run, unless one of its saga_id is there."""
        row = self.runs.rows.get(run.saga_id)
        if row is None:
            new = changes.inserted(run, moment, lease_seconds)
            self.runs.put(new)
            for step in run.first_steps if run.lease_owner is not None else ():
                self.runs.enter(changes.begun(new, step))
        found = run if row is None else row
        return Inserted(run.saga_id, row is None, found.fingerprint, owner=found.owner)

    def keep_webhook(self, record: WebhookRecord) -> None:
        """Keep an event, and forget the first one that came and needs nobody, if they are too many."""
        self.webhooks[record.id] = record
        if len(self.webhooks) > self._keep_finished:
            done = (one.id for one in self.webhooks.values() if one.outcome not in ("quarantined", "delayed"))
            self.webhooks.pop(next(done, record.id))

    def held(self, saga_id: str, owner: str, attempt: int) -> RunRecord | None:
        """Return a run if this owner holds it in this attempt."""
        row = self.runs.rows.get(saga_id)
        return row if row is not None and changes.is_held(row, owner, attempt) else None

    def write(self, write: RunWrite, moment: datetime) -> bool:
        """Record a write; False when the run is not its owner's any more."""
        row = self.held(write.saga_id, write.owner, write.attempt)
        if row is None:
            return False
        for step in write.steps:
            old = self.runs.entry(write.saga_id, step.step, step.phase)
            self.runs.enter(changes.entered(old, row.saga_id, row.attempt, step, moment))
        for event in write.events:
            self.outbox.add(of_run(write.saga_id, event, row.created_at), moment)
        for call in write.left_waits:
            self.waits.leave(write.saga_id, call)
        for call in write.missed_waits:
            self.waits.leave(write.saga_id, call, only_missed=True)
        if write.stops_waiting:
            self.waits.forget(write.saga_id, only_open=True)
        for wait in write.waits:
            self.waits.register(write.saga_id, wait, row.attempt, moment)
        if write.status == "failed":
            self.end_attempt(row, "failed", row.error if write.error is None else write.error, moment)
        elif write.release is not None and not write.release.waits:
            self.end_attempt(row, released(write.release), write.release.detail, moment)
        self.put(changes.written(row, write, moment, self.waits.due_at(write.saga_id, write.attempt, moment)))
        return True

    def send(self, signal: NewSignal, moment: datetime) -> Sent:
        """Keep a signal, unless it is there or its run has ended; a run that waits for it is due."""
        if (known := self.waits.signal(signal.id)) is not None:
            return Sent(False, known.fingerprint)
        row = self.runs.rows.get(signal.saga_id or "")
        if row is not None and row.status in FINISHED:
            return Sent(False)
        if signal.version is not None and (row is None or row.version != signal.version):
            return Sent(False)
        saga_id = self.waits.add(signal, moment)
        row = self.runs.rows.get(saga_id or "")
        if signal.actor is not None:
            status = "waiting" if row is None else row.status
            note = AuditRecord(saga_id or "", "signal", signal.actor, signal.reason, status, status, moment)
            if saga_id is None:
                self.waits.note(signal.id, note)
            else:
                self.runs.note(note)
        self._rouse(row, moment)
        return Sent(True, signal.fingerprint)

    def _rouse(self, row: RunRecord | None, moment: datetime) -> None:
        if row is None or row.status != "waiting":
            return
        if self.waits.due_at(row.saga_id, row.attempt, moment) == moment:
            self.runs.put(replace(row, available_at=moment))

    def end_attempt(self, row: RunRecord, outcome: AttemptOutcome, detail: str | None, moment: datetime) -> None:
        """Note how an attempt ended."""
        self.runs.end_attempt(changes.attempted(row, self.runs.journal(row.saga_id), outcome, detail, moment))

    def put(self, row: RunRecord) -> None:
        """Replace a run's row, and forget the oldest ones that are too many."""
        self.runs.put(row)
        for saga_id in self.runs.surplus(self._keep_finished):
            self.remove(saga_id)

    def remove(self, saga_id: str) -> None:
        """Forget a run and its sent events."""
        self.runs.remove(saga_id)
        self.waits.forget(saga_id)
        self.waits.forget_notes(saga_id)
        self.outbox.forget_sent(saga_id)

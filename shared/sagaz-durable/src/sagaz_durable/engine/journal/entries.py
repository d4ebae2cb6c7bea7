"""Reading and writing the journal entries of one claimed run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.engine.journal.known_entries import ENTERED, UNCALLED, UNENTERED, Entry, KnownEntries
from sagaz_durable.engine.journal.wait_changes import WaitChanges
from sagaz_durable.engine.journal.writer import JournalWriter, Submit
from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import (
    ClaimedRun,
    Phase,
    Release,
    RunStatus,
    RunWrite,
    StepStatus,
    StepWrite,
)
from sagaz_integration_core.contract.statuses import Call
from sagaz_integration_core.contract.waits import WaitWrite

__all__ = ["Entries"]


class Entries(KnownEntries):
    """Reads and writes the entries of one claimed run; every write is fenced by the lease's owner and attempt.

    Attributes:
        patience: See `JournalWriter`.
        is_told: Whether listeners have been told of the run in this attempt.

    Args:
        run: The run as it was claimed.
        lease: Of the run; stopped when an entry that nobody waits for could not be written.
        submit: See `JournalWriter`.
        held: Has the end of a step written that no further write takes along.
    """

    def __init__(
        self, run: ClaimedRun, owner: str, lease: Lease, patience: float, submit: Submit, held: HeldWrites
    ) -> None:
        super().__init__(run)
        self._attempt = run.attempt
        self._new_write: Callable[..., RunWrite] = partial(RunWrite, run.saga_id, owner, run.attempt)
        self._lease = lease
        self.patience, self.is_told = patience, False
        self._writer = JournalWriter(lease, patience, submit)
        self._held = held
        self._held_steps: list[StepWrite] = []
        self._held_events: list[EventWrite] = []
        self._wait_changes = WaitChanges(self.waits)
        self._flushing: asyncio.Task[None] | None = None

    @property
    def unstorable(self) -> RunWrite | None:
        """The write that this database can never store; what it would have recorded is lost."""
        return self._writer.unstorable

    @property
    def progressed(self) -> bool:
        """Whether the end of a call, or a new wait, has been recorded in this attempt."""
        return self._writer.progressed

    async def started(self, step: str, phase: Phase, *, compensated: bool = False) -> None:
        """Record durably that a step is about to be called, and whether it has a compensation by which to undo it."""
        old = self._entries.get((step, phase))
        if old is not None and old.begun:
            self._entries[step, phase] = old._replace(begun=False, compensated=compensated)
        elif old is not None and old.resumed and old.compensated == compensated:
            self._entries[step, phase] = old._replace(resumed=False)
        else:
            await self._commit(self._note(step, phase, "started", compensated=compensated))

    def done(
        self, step: str, phase: Phase, result: str | None, events: tuple[EventWrite, ...] = (),
        committed: RunWrite | None = None,
    ) -> None:  # fmt: skip
        """Record the end of a step; it is durable before anything that follows it begins.

        Args:
            committed: What has recorded it already.
        """
        if committed is not None:
            self._committed(committed)
            return
        self._held_steps.append(self._note(step, phase, "done", result))
        self._held_events.extend(events)
        self._held.hold(self)

    async def flushed(self) -> None:
        """Return when the ends of all calls so far are durable: what commits by itself must not get ahead of them."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
        if self._held_steps:
            await self._commit()

    def end_of(
        self, step: str, phase: Phase, result: str | None, events: tuple[EventWrite, ...], *, compensated: bool = False
    ) -> RunWrite:
        """Return what records beginning and end of a call at once, for somebody else to commit it, in any thread."""
        steps = (StepWrite(step, phase, "started", compensated=compensated), StepWrite(step, phase, "done", result))
        return self._new_write(steps=steps, events=events)

    def _committed(self, write: RunWrite) -> None:
        for step in write.steps:
            compensated = step.compensated if step.status == "started" else None
            self._note(step.step, step.phase, step.status, step.result, compensated=compensated)
        self._writer.progressed = True

    async def settled(self) -> None:
        """Return when no transaction of an earlier connection can change this run's journal any more.

        Raises:
            LeaseLost: The run is another process's.
        """
        await self._commit()

    def waiting(self, step: str, phase: Phase, new: Sequence[WaitWrite]) -> None:
        """Record that a call was left at a wait, and the waits that it is the first to meet."""
        self._held_steps.append(self._note(step, phase, "waiting"))
        self._wait_changes.add(new)
        self._held.hold(self)

    async def resumed(self, step: str, phase: Phase) -> None:
        """Record durably that a call goes on in this attempt, if that is not known."""
        old = self._entries.get((step, phase))
        if old is None or old.attempt != self._attempt or old.status != "started":
            await self._commit(self._note(step, phase, "started"))

    def asks(self, call: Call, wait: WaitWrite, why: str, recovered: str | None = None) -> None:
        """Record that a call waits for a person, and why; and what was decided about the step until now."""
        do = self._entries.get((call[0], "do"))
        if recovered is not None and do is not None:
            self._held_steps.append(self._note(call[0], "do", do.status, recovered, do.error, keeps_waits=True))
        self._held_steps.append(self._note(*call, "waiting", None, why))
        self._wait_changes.add([wait])
        self._held.hold(self)

    async def decided_about(self, step: str, decision: str, turn: str | None, *, is_kept: bool = False) -> None:
        """Record what becomes of a step that has failed; with ``turn`` durably, and that the run rolls back.

        Args:
            is_kept: Whether what stands before the step is not undone, so that a person may have the run go forward.
        """
        if turn is None:
            self.done(step, "redo", decision)
        else:
            self._wait_changes.end_steps(is_kept=is_kept)
            await self._commit(self._note(step, "redo", "done", decision), status="compensating", error=turn)

    async def decided(self, decision: str) -> None:
        """Record durably that the run rolls back although no step of it has failed."""
        self._wait_changes.end_steps(is_kept=False)
        steps = self._uncalled()
        left = [step for (step, phase), entry in self._entries.items() if phase == "do" and entry.resumed]
        steps += [self._note(step, "do", "in_doubt", None, decision) for step in left]
        await self._commit(*steps, status="compensating", error=decision)

    async def failed(
        self,
        step: str,
        phase: Phase,
        error: str,
        *,
        in_doubt: bool = False,
        decision: str | None = None,
        events: tuple[EventWrite, ...] = (),
        recovers: bool = False,
        may_be_repeated: bool = False,
    ) -> None:
        """Record a failure durably; with ``decision`` also that the run rolls back because of it.

        Args:
            recovers: Whether its recovery begins.
            may_be_repeated: Whether the call may be made again: what came for it is its own then, and what did not come
                in time is waited for anew.
        """
        decided, keeps = self.recovered(step) if recovers else None, may_be_repeated or recovers
        notes = [self._note(step, phase, "in_doubt" if in_doubt else "failed", decided, error, keeps_waits=keeps)]
        if keeps:
            self._wait_changes.keep((step, phase))
        if recovers:
            notes.append(self._note(step, "redo", "started"))
        if decision is not None:
            self._wait_changes.end_steps(is_kept=keeps)
        await self._commit(
            *notes, events=events, status="compensating" if decision is not None else None, error=decision
        )

    def lost(self, step: str, phase: Phase, error: str) -> None:
        """Note that a call has ended and that its end cannot be stored; recorded with the next write."""
        self._held_steps.append(self._note(step, phase, "in_doubt", None, error))

    async def finish(self, status: RunStatus, error: str | None, events: tuple[EventWrite, ...] = ()) -> None:
        """Record the end of the run, together with whatever has not been written yet."""
        if status == "failed":
            # What its calls were given is theirs, if it is tried again.
            self._wait_changes.stop()
        else:
            self._wait_changes.leave_all("do", "redo", "undo")
        await self._commit(events=events, status=status, error=error)

    async def release(self, release: Release, error: str | None = None) -> None:
        """Give the run back to whoever claims it next."""
        await self._commit(*self._uncalled(), release=release, error=error)

    def uncalled(self, step: str) -> None:
        """Note that a step of which was told was not called, if it is journaled; recorded with the next write."""
        entry = self._entries.get((step, "do"))
        if entry is not None and entry.status == "started":
            self._held_steps.append(self._note(step, "do", "failed", None, ENTERED))

    def _uncalled(self) -> list[StepWrite]:
        """Note the same of the steps that their claim has journaled, and that nobody has come to."""
        steps = [step for (step, _), entry in self._entries.items() if entry.begun]
        return [self._note(step, "do", "failed", None, UNENTERED if self.is_told else UNCALLED) for step in steps]

    def _note(
        self, step: str, phase: Phase, status: StepStatus, result: str | None = None, error: str | None = None,
        *, compensated: bool | None = None, keeps_waits: bool = False,
    ) -> StepWrite:  # fmt: skip
        old = self._entries.pop((step, phase), None) if status == "started" else self._entries.get((step, phase))
        attempt = self._attempt if old is None or status == "started" else old.attempt
        if compensated is None:
            compensated = old is not None and old.compensated
        self._entries[step, phase] = Entry(status, result, error, attempt, compensated)
        if status not in ("started", "waiting") and not keeps_waits and self.waits.any:
            self._wait_changes.leave((step, phase))
        return StepWrite(step, phase, status, result, error, compensated)

    async def _commit(
        self,
        *steps: StepWrite,
        events: tuple[EventWrite, ...] = (),
        status: RunStatus | None = None,
        error: str | None = None,
        release: Release | None = None,
    ) -> None:
        while self._flushing is not None:
            await asyncio.shield(self._flushing)
        self._held.release(self)
        # Only now: what a flush took along without the rest would be told of before it has happened, and once more
        # by the next attempt if this process died in between.
        self._held_steps.extend(steps)
        self._held_events.extend(events)
        await self._writer.write(self._taken(status=status, error=error, release=release))

    def _taken(self, **values: Any) -> RunWrite:
        steps, self._held_steps = tuple(self._held_steps), []
        events, self._held_events = tuple(self._held_events), []
        return self._new_write(steps=steps, events=events, **values, **self._wait_changes.taken())

    def flush(self) -> None:
        """Write what is held now, in a task of its own; `_commit` waits for that."""
        if self._flushing is not None:
            # One after the other: whoever waits for this one waits for all.
            self._held.hold(self)
        elif self._held_steps:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(self._taken()))

    async def _flush(self, write: RunWrite) -> None:
        try:
            await self._writer.write(write)
        except Exception as error:
            # What is lost is the end of a step, so nothing that follows it may be called, and no end be told.
            self._lease.stop(error)
        finally:
            self._flushing = None

    def close(self) -> None:
        """Forget what was not written; the run is not this process's any more."""
        self._held.release(self)
        self._held_steps, self._held_events = [], []
        self._wait_changes.taken()

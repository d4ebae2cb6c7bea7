"""Reading and writing the journal entries of one claimed run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain, repeat
from typing import Any

from sagaz_integration_core.errors import LeaseLost, StoreUnavailable
from sagaz_integration_core.leases import Lease
from sagaz_integration_core.outbox import EventWrite
from sagaz_integration_core.records import ClaimedRun, Phase, Release, RunStatus, RunWrite, StepStatus, StepWrite

__all__ = ["Entries"]

_HOLD_SECONDS = 0.005
"""How long the end of a step may wait for the beginning of the next one, to share its commit."""

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)

Submit = Callable[[RunWrite], Awaitable[bool | None]]


class Entries:
    """Reads and writes the entries of one claimed run.

    Every write is fenced by the lease's owner and attempt. While the store is unavailable a write is tried again
    until the lease nears its end: the writes are idempotent under their fence, so an unknown outcome does no harm.

    Args:
        run: The run as it was claimed.
        lease: Of the run; stopped when an entry that nobody waits for could not be written.
        submit: Commits a write together with those of other runs; False when it was fenced out, None when another
            transaction has locked the run's row.
    """

    def __init__(
        self,
        run: ClaimedRun,
        owner: str,
        lease: Lease,
        submit: Submit,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._new_write = partial(RunWrite, run.saga_id, owner, run.attempt)
        self._lease = lease
        self._submit = submit
        self._loop = loop
        self._entries: dict[tuple[str, Phase], StepWrite] = {
            (entry.step, entry.phase): StepWrite(entry.step, entry.phase, entry.status, entry.result, entry.error)
            for entry in run.steps
        }
        self._begun = frozenset(run.begun)
        for step in run.begun:
            self._note(step, "do", "started")
        self._held_steps: list[StepWrite] = []
        self._held_events: list[EventWrite] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    def get(self, step: str, phase: Phase) -> StepWrite | None:
        """Return what is known of a step, or of its compensation."""
        return self._entries.get((step, phase))

    def in_order(self) -> list[StepWrite]:
        """Return all entries in the order in which they began."""
        return list(self._entries.values())

    def steps(self) -> set[str]:
        """Return the names of all steps that have an entry."""
        return {step for step, _ in self._entries}

    def is_begun(self, step: str) -> bool:
        """Whether the claim has recorded already that this step is about to be called."""
        return step in self._begun

    async def started(self, step: str, phase: Phase) -> None:
        """Record durably that a step is about to be called."""
        if phase == "undo" or not self.is_begun(step):
            await self._commit(self._note(step, phase, "started"))

    def done(self, step: str, phase: Phase, result: str | None, events: tuple[EventWrite, ...] = ()) -> None:
        """Record the end of a step; it is durable before anything that follows it begins."""
        self._held_steps.append(self._note(step, phase, "done", result))
        self._held_events.extend(events)
        if self._timer is None:
            self._timer = self._loop.call_later(_HOLD_SECONDS, self._flush_soon)

    async def failed(
        self,
        step: str,
        phase: Phase,
        error: str,
        *,
        in_doubt: bool = False,
        decision: str | None = None,
        events: tuple[EventWrite, ...] = (),
    ) -> None:
        """Record a failure durably; with ``decision`` also that the run rolls back because of it."""
        entry = self._note(step, phase, "in_doubt" if in_doubt else "failed", None, error)
        await self._commit(
            entry, events=events, status="compensating" if decision is not None else None, error=decision
        )

    async def finish(self, status: RunStatus, error: str | None, events: tuple[EventWrite, ...] = ()) -> None:
        """Record the end of the run, together with whatever has not been written yet."""
        await self._commit(events=events, status=status, error=error)

    async def release(self, delay: float = 0.0, *, failed: bool = False, error: str | None = None) -> None:
        """Give the run back to whoever claims it next."""
        await self._commit(release=Release(delay, failed), error=error)

    def _note(
        self, step: str, phase: Phase, status: StepStatus, result: str | None = None, error: str | None = None
    ) -> StepWrite:
        entry = self._entries[step, phase] = StepWrite(step, phase, status, result, error)
        return entry

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
        self._cancel_timer()
        # Only now: what a flush took along without the rest would be told of before it has happened, and once more
        # by the next attempt if this process died in between.
        self._held_steps.extend(steps)
        self._held_events.extend(events)
        await self._write(self._taken(status=status, error=error, release=release))

    def _taken(self, **values: Any) -> RunWrite:
        steps, self._held_steps = tuple(self._held_steps), []
        events, self._held_events = tuple(self._held_events), []
        return self._new_write(steps=steps, events=events, **values)

    async def _write(self, write: RunWrite) -> None:
        for pause in chain(_RETRY_SECONDS, repeat(_RETRY_SECONDS[-1])):
            try:
                accepted = await self._submit(write)
                if accepted is None:
                    raise StoreUnavailable(f"Another transaction has locked the row of run {write.saga_id}.")
            except StoreUnavailable:
                if self._lease.remaining < pause:
                    raise
                await asyncio.sleep(pause)
            else:
                if not accepted:
                    raise LeaseLost(f"Run {write.saga_id} (attempt {write.attempt}) is another process's now.")
                return

    def _flush_soon(self) -> None:
        self._timer = None
        if self._flushing is not None:
            # One after the other: whoever waits for this one waits for all.
            self._timer = self._loop.call_later(_HOLD_SECONDS, self._flush_soon)
        elif self._held_steps:
            self._flushing = self._loop.create_task(self._flush(self._taken()))

    async def _flush(self, write: RunWrite) -> None:
        try:
            await self._write(write)
        except (LeaseLost, StoreUnavailable) as error:
            self._lease.stop(error)
        finally:
            self._flushing = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Forget what was not written; the run is not this process's any more."""
        self._cancel_timer()
        self._held_steps.clear()
        self._held_events.clear()

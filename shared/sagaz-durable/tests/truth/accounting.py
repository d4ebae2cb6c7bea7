"""What each attempt may cost its run, said from outside: the fate of every process is known here.

A run is charged when its process died and had no other run, or was seen to fail by itself; with others it becomes a
suspect; a process that lives costs it nothing; and progress clears all of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from worlds import NAME, Process, World

from sagaz_integration_core.contract.records import FINISHED

__all__ = ["Accounts"]


class Counts(NamedTuple):
    """What a row, or a claimed run, has against a run."""

    failures: int = 0
    suspicions: int = 0
    alone: bool = False

    @classmethod
    def of(cls, run: Any) -> Counts:
        return cls(run.failures, run.suspicions, run.alone)


class Accounts:
    """The books of one run, kept from the first attempt to the last.

    Attributes:
        decided: Whether a person's decision has changed the run since the last attempt.
    """

    def __init__(self, world: World, saga_id: str) -> None:
        self._world, self._saga_id = world, saga_id
        self._holder: Process | None = None
        self._since = Counts()
        self.decided = False

    async def attempt(self, process: Process) -> None:
        """Have a process claim the run after the last one's lease has ended, and work; check what both were charged."""
        await self._check(process, process.work)

    async def go_on(self, process: Process) -> None:
        """Have a process go on that stood still, perhaps before its claim."""
        if process.claimed is None:
            await self._check(process, process.go_on)
        else:
            self._world.rows.end_lease(self._saga_id)
            await process.go_on()

    async def _check(self, process: Process, work: Callable[[], Awaitable[None]]) -> None:
        store = self._world.store
        self._world.rows.end_lease(self._saga_id)
        before = await store.load(self._saga_id)
        if before.lease_owner is not None and self._holder is not None and self._holder.lives:
            await store.heartbeat(before.lease_owner, 30, "worker", [NAME])
        await self._check_attempt(before)
        await work()
        if before.status not in FINISHED:
            await self._check_claim(before, process)

    async def _check_attempt(self, row: Any) -> None:
        """Check what the row says of the last attempt, before anybody has looked for its end."""
        if row.status in FINISHED:
            return
        expected = self._since
        if self.decided:
            expected = Counts()
        elif self._holder is not None:
            if await self._has_progressed(row.attempt) or await self._may_have_progressed(row):
                expected = Counts()
            if await self._outcome(row.attempt) == "halted":
                expected = expected._replace(failures=expected.failures + 1)
        assert Counts.of(row) == expected, f"attempt {row.attempt} left {Counts.of(row)}, not {expected}"
        self._since, self.decided = expected, False
        if row.lease_owner is None:
            self._holder = None

    async def _check_claim(self, before: Any, process: Process) -> None:
        """Check what the claim has made of the lease that it found."""
        after = await self._world.store.load(self._saga_id)
        found = process.claimed
        if found is None and (after.attempt, after.lease_owner) == (before.attempt, before.lease_owner):
            return  # There was no claim, or it had no effect.
        if found is not None and found.attempt <= before.attempt:
            return  # It stood still between its claim and the answer.
        expected = self._expected(before)
        assert Counts.of(found or after) == expected, f"attempt {before.attempt} costs {expected}: {found or after}"
        if before.lease_owner is not None:
            assert self._holder is not None
            outcome = await self._outcome(before.attempt)
            assert outcome == ("lost" if self._holder.lives else "died"), f"attempt {before.attempt}: {outcome}"
            assert found is None or found.after_death, f"{found} does not tell that a lease had ended before"
        self._since, self._holder = expected, process if after.attempt > before.attempt else None

    def _expected(self, before: Any) -> Counts:
        counts, holder = Counts.of(before), self._holder
        if before.lease_owner is None:
            return counts
        assert holder is not None
        if holder.lives:
            return counts
        if holder.company:
            suspicions = counts.suspicions + 1
            return Counts(counts.failures, suspicions, alone=suspicions >= 2)
        return counts._replace(failures=counts.failures + 1)

    async def _has_progressed(self, attempt: int) -> bool:
        steps = await self._world.store.load_steps(self._saga_id)
        return any(entry.status in ("done", "waiting") and entry.attempt == attempt for entry in steps)

    async def _may_have_progressed(self, row: Any) -> bool:
        """Whether it has by a recovery that is called again: its entry tells of the earlier decision no more."""
        steps = await self._world.store.load_steps(self._saga_id)
        again = {one.step for one in steps if one.phase == "redo" and one.attempt == row.attempt}
        called = any(one.step in again and one.phase == "do" and one.attempt == row.attempt for one in steps)
        return called and (row.suspicions, row.failures) == (0, 0)

    async def _outcome(self, attempt: int) -> str | None:
        attempts = await self._world.store.load_attempts(self._saga_id)
        return next((one.outcome for one in attempts if one.attempt == attempt), None)

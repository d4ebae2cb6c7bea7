"""Claims due runs and executes them side by side, under leases, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.clock import now
from sagaz_durable.engine.execution import RunExecution
from sagaz_durable.engine.result import SagaRun
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.workers.claim_size import ClaimSize
from sagaz_durable.workers.delayed_starts import DelayedStarts
from sagaz_durable.workers.erasing import erase_outdated, erase_regularly
from sagaz_durable.workers.lost_waits import rouse_lost_waits
from sagaz_durable.workers.suspects import Suspects
from sagaz_integration_core.contract.listings import WorkerKind
from sagaz_integration_core.errors import StoreNotReady, StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable.engine.running import Runs
    from sagaz_durable.outbox.relay import Relay

__all__ = ["Worker", "WorkerOptions", "summary"]

logger = logging.getLogger(__name__)


class WorkerOptions(TypedDict, total=False):
    """What a `Worker` may be given besides the runs."""

    concurrency: int | None
    drain: bool
    command: bool
    on_progress: Callable[[Worker], None] | None


class Worker:
    """One worker of a process.

    Args:
        runs: Those of its process, to which it adds.
        relay: Publishes events while it works; None without a broker.
        concurrency: The most runs at once; by default the setting.
        drain: Return when nothing is due and nothing runs, instead of waiting for more.
        command: It is all that its process does: what the store lacks ends it, and with ``drain`` an outage, too.
        on_progress: Called whenever a run was taken or has ended.

    Attributes:
        ended: How many runs ended, by status; ``given back`` counts those that did not end here.
        problem: Why it can claim nothing now; None when it can.
        failure: Why it stopped by itself; None if it did not.
    """

    def __init__(
        self,
        runs: Runs,
        relay: Relay | None = None,
        *,
        concurrency: int | None = None,
        drain: bool = False,
        command: bool = False,
        on_progress: Callable[[Worker], None] | None = None,
    ) -> None:
        self._runs = runs
        self._environment = runs.environment
        self._relay = relay
        self._concurrency = concurrency or runs.environment.settings.concurrency
        self._size = ClaimSize(self._concurrency // runs.environment.store.claim_portions)
        self._drain = drain
        self._command = command
        self.problem: str | None = None
        self._on_progress = on_progress
        self._stops = False
        self._changed = asyncio.Event()
        self._is_idle = False
        self._claims = asyncio.Lock()
        self._running: dict[asyncio.Task[SagaRun], RunExecution] = {}
        self._task: asyncio.Task[None] | None = None
        self._delayed = DelayedStarts(runs.environment)
        self._suspects = Suspects(runs.environment, command=command, drain=drain)
        self.ended: Counter[str] = Counter()
        self.failure: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the task of `start` is over."""
        return self._task is not None and self._task.done()

    @property
    def running(self) -> int:
        """How many runs are being executed; not those of which only the end is still being written."""
        return sum(not execution.is_ending for execution in self._running.values())

    @property
    def _free(self) -> int:
        # While the ends of some are written, others take their places: the processors would have nothing to do. Where
        # ends cannot be written, twice as many are enough.
        return max(0, self._concurrency - max(self.running, len(self._running) - self._concurrency))

    def start(self) -> None:
        """Run in a task of its own."""
        self._task = asyncio.get_running_loop().create_task(self.run(), name="sagaz-worker")

    def stop(self) -> None:
        """Claim nothing more; `run` returns soon, and what runs is left to the process's drain."""
        self._stops = True
        self._go_on()

    async def settled(self) -> None:
        """Wait until no claim is under way, after `stop`: what it has got is executed, and none follows."""
        async with self._claims:
            return

    async def stopped(self) -> None:
        """Wait until the task of `start` has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def run(self) -> None:
        """Work until `stop`, or with ``drain`` until nothing is due.

        Raises:
            StoreUnavailable: As a command: tables or rights are missing, or with ``drain`` the store is unreachable.
        """
        self._announce()
        # Others get their turn, however little there is to do: a store in memory makes nobody wait.
        await asyncio.sleep(0)
        await rouse_lost_waits(self._environment)
        relay = self._relay
        relaying = None if relay is None or self._drain else asyncio.create_task(relay.run())
        upkeep = [] if self._drain else [asyncio.create_task(erase_regularly(self._environment))]
        if self._delayed.is_needed and not self._drain:
            upkeep.append(asyncio.create_task(self._delayed.start_regularly()))
        try:
            await self._work()
            if relay is not None and self._drain:
                await relay.publish_all()
            if self._drain:
                await erase_outdated(self._environment)
        finally:
            await cancel_all(upkeep)
            if relay is not None and relaying is not None:
                relay.stop()
                await asyncio.wait([relaying])
            self._environment.leases.withdraw(self)
            await self._environment.leases.withdrawn()

    def _announce(self) -> None:
        registry = self._environment.registry
        if not self._runs.is_private:
            kind: WorkerKind = "worker" if self._command else "embedded"
            self._environment.leases.announce(self, kind, lambda: registry.announced)

    async def _work(self) -> None:
        while not self._stops:
            if unfit := self._runs.unfit():
                self.problem = "; ".join(unfit)
                if self._command:
                    # Its supervisor starts another one, which has all its threads.
                    self.failure = self.problem
                    return
                await self._pause(idle=True)
                continue
            # A run that ended or came to a wait during the claim may be due again, and the claim has not seen it.
            quiet = not self._running
            async with self._claims:
                claimed, more = await self._take()
            if self._drain and not claimed and not self._running:
                if quiet and not await self._delayed.start():
                    return
                continue
            if not (more and claimed and self._free):
                await self._pause(idle=not more)

    async def _take(self) -> tuple[int, bool]:
        """Claim what there is room for; return how many runs, and whether there may be more of them."""
        if any(execution.run.alone for execution in self._running.values()):
            return 0, True
        if await self._suspects.want_room():
            if self._running:
                return 0, True
            if claimed := await self._claim_suspect():
                return claimed, True
        wanted = min(self._free, self._size.next)
        claimed = await self._claim(wanted) if wanted else 0
        if not claimed and not self._running:
            claimed = await self._claim_suspect()
        return claimed, claimed == wanted

    async def _claim_suspect(self) -> int:
        sagas = await self._suspects.claimable()
        return await self._claim(1, alone=sagas) if sagas else 0

    async def _claim(self, free: int, *, alone: Sequence[str] = ()) -> int:
        taken_at = now()
        try:
            runs = await self._runs.claim(free, alone=alone)
        except StoreUnavailable as error:
            self._tell_of(error)
            return 0
        except Exception as error:
            if self._drain:
                raise
            self.problem = masked_error(error)
            # Inside an application nobody would notice that its worker has ended.
            logger.exception("No runs can be claimed now; trying again")
            return 0
        self.problem = None
        self._size.claimed(runs)
        # New ones first: whoever has waited can wait for them.
        for run in sorted(runs, key=lambda run: run.attempt > 1):
            if run.after_death:
                logger.warning(
                    "Saga %r, run %s: goes on in attempt %d, since the lease of an earlier one ended; failures: %d",
                    run.saga_name, run.saga_id, run.attempt, run.failures,
                )  # fmt: skip
            execution = self._runs.park(run, taken_at)
            execution.on_ending = self._changed.set
            self._running[self._runs.execute(execution, self._ended)] = execution
        self._progress()
        return len(runs)

    def _tell_of(self, error: StoreUnavailable) -> None:
        lacks = isinstance(error, StoreNotReady)
        if self._command and (lacks or self._drain):
            raise error
        if not lacks:
            logger.warning("No runs can be claimed now; trying again: %s", error)
        elif self.problem != str(error):
            logger.error("No runs can be claimed until this is mended, which is looked for: %s", error)
        self.problem = str(error)

    def _ended(self, task: asyncio.Task[SagaRun]) -> None:
        execution = self._running.pop(task)
        self.ended[execution.outcome or "given back"] += 1
        self._delayed.run_ended(execution.run.saga_name)
        self._go_on()
        self._progress()

    def _progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self)

    def _go_on(self) -> None:
        """End the pause, if there is one."""
        self._changed.set()
        if self._is_idle:
            self._environment.store.wake()

    async def _pause(self, *, idle: bool) -> None:
        """Return when the worker is to stop, or a run ends, or (when idle) new runs may have become due."""
        self._changed.clear()
        if self._stops:
            return
        if not idle:
            await self._changed.wait()
            return
        # Not in a task of its own, beside others: when a commit wakes the worker, each hop on the loop is a delay.
        self._is_idle = True
        try:
            await self._environment.store.wait(self._environment.settings.poll_seconds)
        finally:
            self._is_idle = False
        if self._relay is not None:
            # What was committed elsewhere may have events too.
            self._relay.nudge()


def summary(ended: Counter[str]) -> str:
    """Tell how many runs ended, and how: ``3 completed, 1 failed``."""
    return ", ".join(f"{count} {status}" for status, count in sorted(ended.items())) or "no runs"

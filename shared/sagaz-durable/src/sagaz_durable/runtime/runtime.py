"""The runtime of one application in one process: opened once, closed in reverse, safe when opening half fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable.concurrency.batcher import Batcher, bytes_of
from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.loop_bound import Reachable
from sagaz_durable.concurrency.process_id import current_pid
from sagaz_durable.concurrency.thread_pool import StepThreads
from sagaz_durable.engine.execution import RunExecution, SagaRun
from sagaz_durable.engine.executor import StepEnvironment
from sagaz_durable.engine.held_writes import HeldWrites
from sagaz_durable.engine.launches import Launches
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.engine.running import Executing
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_durable.leases.leases import Leases
from sagaz_durable.leases.loop_watch import LoopWatch
from sagaz_durable.operations.health import Pulse
from sagaz_durable.outbox.relay import Relay
from sagaz_durable.runtime.backpressure import Backlog
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.opening import Opening
from sagaz_durable.stores.thread_store import ThreadStore
from sagaz_durable.workers.background import BackgroundRuns
from sagaz_integration_core.context import log_fields as logs
from sagaz_integration_core.context.current_step import followed
from sagaz_integration_core.contract.records import ClaimedRun, RunStatus, RunWrite
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import RunInterrupted, RuntimeNotOpen, SettingsError
from sagaz_integration_core.settings.settings import Settings

if TYPE_CHECKING:
    from sagaz_durable._upstream.mirror import Mirror
    from sagaz_durable._upstream.resources import SagazResources
    from sagaz_durable.engine.registry import SagaSpec
    from sagaz_durable.workers.worker import Worker

__all__ = ["SagazRuntime"]

logger = logging.getLogger(__name__)

_LAST_EVENTS_SECONDS = 5.0


class SagazRuntime(Reachable):
    """Store, registry, leases, broker and running sagas of one application.

    Args:
        settings: Validated settings; by default those of the environment.
        config: The user's own ``SagaConfig``, if there is one; its storages and broker are opened and closed too.
        sagas: Saga classes, or (class, factory) pairs, that can be started and resumed here.
        app: What `current_step` hands to steps as ``app``; a weak reference to it stays weak.
        worker: Run a worker inside this process. On memory there always is one.
        step_scope: Entered around every call of a step, in the thread that makes it.
        hint: Where the framework's users register sagas, for error messages.
        open_store: Makes the store; by default it is chosen by the storage URL.
        step_pool: Makes that in which plain steps are called; the runtime shuts it down.
        keeper: Returns the process's `LeaseKeeper`, acquired; several runtimes may share it. By default this one has
            its own.
        dispatch: Called with the saga_ids of a start after its commit, by whoever commits it, if the setting
            ``dispatch`` is ``celery``; it raises nothing.

    Attributes:
        only_reads: Set before it is opened, by commands that write nothing: no right to write is asked for.
        pulse: When its event loop last came round.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        config: Any = None,
        sagas: Iterable[SagaSpec] = (),
        app: Any = None,
        worker: bool = False,
        step_scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
        hint: str = "sagas=[…]",
        open_store: Callable[[Settings], SagaStore] = create_store,
        step_pool: Callable[[Settings], Executor] | None = None,
        keeper: Callable[[], LeaseKeeper] | None = None,
        dispatch: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        super().__init__()
        settings = settings if settings is not None else Settings.from_env()
        self.settings = settings if config is None else _with_store_of(config, settings)
        self.app_given = app
        self.app_state: Any = None
        self.step_scope = step_scope
        self.registry = SagaRegistry(sagas, hint=hint)
        self.backlog = None if self.settings.max_due is None else Backlog(self.settings.max_due)
        self._given_config = config
        self._embedded_worker = worker
        self._open_store = open_store
        self._step_pool = step_pool or _step_threads
        self._shared_keeper = keeper
        self.is_private = False
        """Whether nobody else can see the runs that are executed now; set by whoever lends this runtime his thread."""
        self.dispatch = dispatch if self.settings.dispatch == "celery" else None
        self._stack: AsyncExitStack | None = None
        self.only_reads = False
        self.launches = Launches()

    @property
    def app(self) -> Any:
        """The application; None when it was given as a weak reference and has gone."""
        return followed(self.app_given)

    async def open(self, *, patient: bool = False) -> None:
        """Open store, storages and broker on the running event loop, and begin to keep leases.

        Args:
            patient: As a server has it: without tables or rights the runtime is open all the same, refuses its use with
                the store's error, and goes on by itself when they are there.

        Raises:
            SettingsError: Settings and config contradict each other.
            StoreUnavailable: The store cannot be opened; nothing is left open.
        """
        if self._stack is not None:
            raise RuntimeNotOpen("This runtime is open already; close it before opening it again.")
        load_sagaz()
        async with AsyncExitStack() as stack:
            await self._open(stack, patient=patient)
            self._stack = stack.pop_all()
        self._draining, self._opened_by = False, current_pid()

    async def _open(self, stack: AsyncExitStack, *, patient: bool) -> None:
        from sagaz_durable._upstream.resources import SagazResources

        self.loop = asyncio.get_running_loop()
        settings = self.settings
        logs.install()
        stack.callback(logs.uninstall)
        self.pool = self._step_pool(settings)
        stack.callback(self.pool.shutdown, wait=False)
        self.store = create_store(settings, only_reads=True) if self.only_reads else self._open_store(settings)
        stack.push_async_callback(self.store.close)
        self._check_dispatch()
        self._worker: Worker | None = None
        self._has_begun = False
        self._opening = Opening(self.store, self._begin_working)
        if (opening := await self._opening.open(patient=patient)) is not None:
            stack.push_async_callback(cancel_all, [opening])
        self._resources: SagazResources = SagazResources(settings, self._given_config, self.store)
        await self._resources.open(stack)
        self.listeners = self._resources.listeners
        self.relay = Relay(self, self._resources.line) if self._resources.line is not None else None
        self._write = self.store.write if self.relay is None else self._write_and_tell
        # In memory nothing is gained by collecting writes, and each batch costs turns of the event loop.
        self._submit = self._write_one if self.store.embedded else Batcher(self._write, size=bytes_of).submit
        self.held_writes = HeldWrites(self.loop)
        self._executing = Executing(self.loop)
        self.environment = StepEnvironment(
            self.pool, self.step_scope, self.backoff, settings.max_context_bytes, self.app_given, self.app_state
        )
        self.background = BackgroundRuns(self, settings.background_runs)
        self.pulse = Pulse()
        self._keep_leases(stack)

    def _keep_leases(self, stack: AsyncExitStack) -> None:
        self.keeper = (self._shared_keeper or self._own_keeper)()
        self.owner = self.keeper.owner
        self.leases = Leases(
            self.keeper, self.store, self.loop, LoopWatch(self.loop, getattr(self.pool, "standing", None))
        )
        self.keeper.add(self.leases)
        stack.push_async_callback(self.keeper.release, self.leases)
        keeping = [
            self.loop.create_task(self.leases.run(), name="sagaz-leases"),
            self.loop.create_task(self.pulse.beat(), name="sagaz-pulse"),
        ]
        stack.push_async_callback(cancel_all, keeping)

    def _own_keeper(self) -> LeaseKeeper:
        settings = self.settings
        narrow = replace(settings, pool_size=1, migrate=False, notify=False)
        keeper = LeaseKeeper(
            None if self.store.embedded else lambda: ThreadStore(lambda: self._open_store(narrow)),
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            step_limit=self.registry.step_limit,
            backoff=settings.backoff,
        )
        keeper.acquire()
        return keeper

    @property
    def leases_end(self) -> bool:
        """Whether somebody else could take a run over that is executed here."""
        return not (self.store.embedded or self.is_private)

    @property
    def _exhausted(self) -> str | None:
        return self.pool.exhausted if isinstance(self.pool, StepThreads) else None

    def unfit(self) -> list[str]:
        """Return what keeps this process from executing runs: a blocked event loop, threads that do not come back."""
        return [text for text in (self.leases.watch.given_up, self._exhausted) if text]

    def problems(self) -> list[str]:
        """Return why this process is not ready to execute runs; nothing when it is. Callable from any thread."""
        if not self.is_open or self._draining:
            return ["the runtime is not open, or shutting down"]
        return self.unfit()

    def ready(self) -> bool:
        """Whether this process is ready to execute runs: for readiness probes; `problems` says why not."""
        return not self.problems()

    def waiting(self) -> AbstractContextManager[None]:
        """Let a step that waits for another run have its thread replaced meanwhile: that run may need one."""
        return self.pool.waiting() if isinstance(self.pool, StepThreads) else nullcontext()

    def check_fit(self) -> None:
        """Refuse to execute a new run here while this process cannot.

        Raises:
            RuntimeNotOpen: Saying why.
        """
        self.check_open()
        if problems := self.unfit():
            raise RuntimeNotOpen(f"This process takes no new runs: {'; '.join(problems)}. Try again elsewhere.")

    def _check_dispatch(self) -> None:
        if self.settings.dispatch != "celery":
            return
        if self.store.embedded:
            raise SettingsError(
                "dispatch=celery: runs are kept in memory, where Celery's workers cannot see them. Set the storage URL "
                "(sqlite:///sagaz.db or postgresql://…), or dispatch=worker."
            )
        if self.dispatch is None:
            raise SettingsError(
                "dispatch=celery: no Celery application is known here. Flask: flask_sagaz.celery.register(celery, app) "
                "where the application is made. Elsewhere leave the setting out."
            )

    async def begin(self, app_state: Any = None) -> None:
        """Start the embedded worker, if there is to be one; called when the application's resources are ready."""
        self.app_state = app_state
        self.environment = replace(self.environment, app_state=app_state)
        self._has_begun = True
        self._begin_working()

    def _begin_working(self) -> None:
        wanted = self._embedded_worker or self.store.embedded
        if wanted and self._has_begun and self._worker is None and not self._opening.lacks and not self._draining:
            from sagaz_durable.workers.worker import Worker

            self._worker = Worker(self)
            self._worker.start()

    def check_open(self) -> None:
        """Refuse new work unless the runtime is open, not shutting down, and its store lacks nothing.

        Raises:
            RuntimeNotOpen: Saying which of the first two it is.
            StoreNotReady: Saying what the store lacks.
        """
        super().check_open()
        self._opening.check()

    @property
    def worker_has_died(self) -> bool:
        """Whether the embedded worker has ended although nobody told it to."""
        return self._worker is not None and self._worker.has_ended and not self._draining

    async def drain(self, seconds: float | None = None) -> None:
        """Take no new runs, let the running ones end within ``seconds`` (by default the setting), release the rest."""
        self._draining = True
        grace = self.settings.drain_seconds if seconds is None else seconds
        if self._worker is not None:
            self._worker.stop()
        await self.background.stop()
        if grace > 0:
            await self._executing.wait(grace)
        for execution in self._executing.halt(RunInterrupted("this process is shutting down.")):
            self.execute(execution)
        await self._executing.wait()
        if self._worker is not None:
            await self._worker.stopped()
        if self.relay is not None and self.relay.is_used:
            # Nobody else may be there to tell of what has just ended.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                    await self.relay.publish_all()

    async def close(self) -> None:
        """Drain what still runs and close everything in reverse; harmless when already closed."""
        if self._stack is None:
            return
        stack, self._stack, self._opened_by = self._stack, None, None
        async with stack:
            await self.drain()

    # What executions use.

    @property
    def config(self) -> Any:
        """The ``SagaConfig`` whose storage is this runtime's store, or the user's own."""
        return self._resources.config

    @property
    def mirror(self) -> Mirror:
        """Saves runs to the user's own sagaz storage too."""
        return self._resources.mirror

    @property
    def broker(self) -> Any:
        """sagaz's broker, or None."""
        return self._resources.broker

    @property
    def publishes(self) -> bool:
        """Whether steps and outcomes are written to the outbox; known before the runtime is opened."""
        given = None if self._given_config is None else self._given_config.broker
        return self.settings.broker_url is not None or given is not None

    def write(self, write: RunWrite) -> Awaitable[bool | None]:
        """Commit a journal write together with those of other runs."""
        return self._submit(write)

    async def _write_one(self, write: RunWrite) -> bool | None:
        [accepted] = await self._write([write])
        return accepted

    async def _write_and_tell(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        answers = await self.store.write(writes)
        if self.relay is not None and any(write.events for write in writes):
            self.relay.nudge()
        return answers

    def backoff(self, failures: int) -> float:
        """Return how many seconds to wait after so many failures; see `Settings.backoff`."""
        return self.settings.backoff(failures)

    async def claim(
        self, limit: int, saga_ids: Sequence[str] | None = None, *, alone: Sequence[str] = ()
    ) -> list[ClaimedRun]:
        """Lease runs that are due, their first steps journaled; whoever got them executes them.

        Args:
            alone: One run of these sagas, of those that are to be executed with nothing beside them; by default, none
                of those.
        """
        if not self.leases_end:
            await self.leases.renew_here()
        seconds = self.settings.lease_seconds
        sagas = self.registry.first_steps
        if alone:
            sagas = {name: sagas[name] for name in alone}
        return await self.store.claim(self.owner, limit, seconds, sagas, saga_ids=saga_ids, alone=bool(alone))

    def park(self, run: ClaimedRun, taken_at: float) -> RunExecution:
        """Hold a run that this process has leased, without executing it yet."""
        execution = RunExecution(self, run, self.leases.hold(run, taken_at, endless=not self.leases_end))
        self._executing.park(execution)
        return execution

    def is_parked(self, execution: RunExecution) -> bool:
        """Whether nobody has executed this run yet; a drain executes what is parked."""
        return self._executing.is_parked(execution)

    def execute(self, execution: RunExecution) -> asyncio.Task[SagaRun]:
        """Execute a parked run in a task that the runtime owns: no request's end cancels it."""
        lease = self.leases.held.get(execution.run.saga_id)
        after = lease.after if lease is not None and lease.attempt == execution.run.attempt else None
        task = self._executing.execute(execution, after)
        self.background.began(execution, task)
        return task

    def report(self, run: ClaimedRun, status: RunStatus, error: str | None) -> None:
        """Tell the log how a run ended."""
        if self.settings.logging or status == "failed":
            level = {"completed": logging.INFO, "rolled_back": logging.WARNING}.get(status, logging.ERROR)
            why = f" ({error})" if error else ""
            logger.log(level, "Saga %r, run %s: %s%s", run.saga_name, run.saga_id, status, why)


def _with_store_of(config: Any, settings: Settings) -> Settings:
    from sagaz_durable._upstream.resources import settings_for

    return settings_for(settings, config)


def _step_threads(settings: Settings) -> Executor:
    return StepThreads(settings.step_threads)

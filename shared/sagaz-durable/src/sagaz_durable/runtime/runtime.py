"""The runtime of one application in one process: opened once, closed in reverse, safe when opening half fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.concurrency.loop_bound import Reachable
from sagaz_durable.concurrency.process_id import current_pid
from sagaz_durable.concurrency.pulse import Pulse
from sagaz_durable.concurrency.thread_pool import StepThreads
from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_durable.engine.launches import Launches
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.engine.running import Runs
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_durable.runtime.assembly import check_dispatch, keep_leases, own_keeper, run_writer, step_threads
from sagaz_durable.runtime.configuration import Configuration
from sagaz_durable.runtime.draining import drain
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.opening import Opening
from sagaz_durable.workers.background import BackgroundRuns
from sagaz_durable.workers.embedded_worker import EmbeddedWorker
from sagaz_integration_core.context import log_fields as logs
from sagaz_integration_core.context.current_step import followed
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import ContextMismatch, RuntimeNotOpen

if TYPE_CHECKING:
    from sagaz_durable._upstream.resources import SagazResources
    from sagaz_durable.engine.execution import RunExecution
    from sagaz_durable.engine.registry import SagaSpec
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.outbox.relay import Relay
    from sagaz_durable.transactions.step_transactions import StepTransactions
    from sagaz_durable.workers.worker import Worker, WorkerOptions

__all__ = ["SagazRuntime"]


class SagazRuntime(Reachable):
    """Store, registry, leases, broker and running sagas of one application.

    What ``open`` makes (``store``, ``runs``, ``leases`` …) raises `RuntimeNotOpen` before that.

    Args:
        settings: Validated settings; by default those of the environment.
        config: The user's own ``SagaConfig``, if there is one; its storages and broker are opened and closed too.
        sagas: Saga classes, or (class, factory) pairs, that can be started and resumed here; or a registry of them.
        app: What `current_step` hands to steps as ``app``; a weak reference to it stays weak.
        worker: Run a worker inside this process. On memory there always is one.
        step_scope: Entered around every call of a step, in the thread that makes it.
        open_store: Makes the store; by default it is chosen by the storage URL.
        step_pool: Makes that in which plain steps are called; the runtime shuts it down.
        keeper: Returns the process's `LeaseKeeper`, acquired; several runtimes may share it. By default this one has
            its own.
        dispatch: Called with the saga_ids of a start after its commit, by whoever commits it, if the setting
            ``dispatch`` is ``celery``; it raises nothing.
        context_mismatch: What is raised for a context that is not what its saga declares, in the framework's form.
        session_factory, transactions: See `Configuration`.

    Attributes:
        only_reads: Set before it is opened, by commands that write nothing: no right to write is asked for.
        pulse: When its event loop last came round.
    """

    _made_by_opening = frozenset({
        "loop", "store", "pool", "relay", "pulse", "keeper", "owner", "leases", "runs", "background",
        "_resources", "_worker", "_opening", "_has_begun",
    })  # fmt: skip

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        config: Any = None,
        sagas: Iterable[SagaSpec] | SagaRegistry = (),
        app: Any = None,
        worker: bool = False,
        step_scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
        open_store: Callable[[Settings], SagaStore] = create_store,
        step_pool: Callable[[Settings], Executor] | None = None,
        keeper: Callable[[], LeaseKeeper] | None = None,
        dispatch: Callable[[Sequence[str]], None] | None = None,
        context_mismatch: type[ContextMismatch] = ContextMismatch,
        session_factory: Callable[[], Any] | None = None,
        transactions: StepTransactions | None = None,
    ) -> None:
        super().__init__()
        self.configuration = Configuration(
            settings, config=config, sagas=sagas, dispatch=dispatch, context_mismatch=context_mismatch,
            session_factory=session_factory, transactions=transactions,
        )  # fmt: skip
        self.settings, self.registry = self.configuration.settings, self.configuration.registry
        self.app_given = app
        self.app_state: Any = None
        self.step_scope = step_scope
        self._wants_worker = worker
        self._open_store = open_store
        self._step_pool = step_pool or step_threads
        self._keeper = keeper or self._own_keeper
        self.is_private = False
        """Whether nobody else can see the runs that are executed now; set by whoever lends this runtime his thread."""
        self._stack: AsyncExitStack | None = None
        self.only_reads, self.launches = False, Launches()

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
        check_dispatch(settings, self.store, self.configuration.dispatch)
        self._worker = EmbeddedWorker(self.make_worker if self._wants_worker or self.store.embedded else None)
        self._has_begun = False
        self._opening = Opening(self.store, self._begin_working)
        if (opening := await self._opening.open(patient=patient)) is not None:
            stack.push_async_callback(cancel_all, [opening])
        self._resources = resources = SagazResources(settings, self.configuration.config, self.store)
        await resources.open(stack)
        self.relay: Relay | None = None
        if resources.line is not None:
            from sagaz_durable.outbox.relay import Relay

            self.relay = Relay(self.store, settings, resources.line)
        self.pulse = Pulse()
        self.keeper = self._keeper()
        self.owner = self.keeper.owner
        self.leases = keep_leases(stack, self.keeper, self.store, self.pool, self.pulse)
        self.runs = Runs(self._environment(resources), self.loop, lambda: self.is_private, self.on_execute)
        self.background = BackgroundRuns(self.runs, settings.background_runs)

    def _environment(self, resources: SagazResources) -> ExecutionEnvironment:
        settings = self.settings
        steps = StepEnvironment(
            self.pool, self.step_scope, settings.backoff, settings.max_context_bytes, settings.wording, self.app_given,
            self.app_state, self.configuration.transactions, self.store,
        )  # fmt: skip
        return ExecutionEnvironment(
            settings, self.store, self.registry, self.leases, resources.mirror, resources.listeners, steps,
            run_writer(self.store, self.relay), HeldWrites(self.loop), self.publishes,
        )  # fmt: skip

    def _own_keeper(self) -> LeaseKeeper:
        return own_keeper(self.settings, self.store, self._open_store, self.registry.step_limit)

    def problems(self) -> list[str]:
        """Return why this process is not ready to execute runs; nothing when it is. Callable from any thread."""
        if not self.is_open or self._draining:
            return ["the runtime is not open, or shutting down"]
        return self.runs.unfit()

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
        if problems := self.runs.unfit():
            raise RuntimeNotOpen(f"This process takes no new runs: {'; '.join(problems)}. Try again elsewhere.")

    async def begin(self, app_state: Any = None) -> None:
        """Start the embedded worker, if there is to be one; called when the application's resources are ready."""
        self.app_state = app_state
        environment = self.runs.environment
        environment.steps = replace(environment.steps, app_state=app_state)
        self._has_begun = True
        self._begin_working()

    def on_execute(self, execution: RunExecution, task: asyncio.Task[SagaRun]) -> None:
        """Note that a run begins to be executed in this task, which has not had its turn yet; plugins may add to it."""
        self.background.began(execution, task)

    def _begin_working(self) -> None:
        if self._has_begun and not self._opening.lacks:
            self._worker.begin()

    def make_worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        """Return a worker of this runtime, which is not started yet; for the options see `Worker`."""
        # Web processes without one need not import it.
        from sagaz_durable.workers.worker import Worker

        return Worker(self.runs, self.relay, **options)

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
        return self._worker.has_died

    async def drain(self, seconds: float | None = None) -> None:
        """Take no new runs, let the running ones end within ``seconds`` (by default the setting), release the rest."""
        self._draining = True
        grace = self.settings.drain_seconds if seconds is None else seconds
        await drain(self.runs, self.background, self._worker, self.relay, grace)

    async def close(self) -> None:
        """Drain what still runs and close everything in reverse; harmless when already closed."""
        if self._stack is None:
            return
        stack, self._stack, self._opened_by = self._stack, None, None
        async with stack:
            await self.drain()

    @property
    def config(self) -> Any:
        """The ``SagaConfig`` whose storage is this runtime's store, or the user's own.

        Raises:
            RuntimeNotOpen: It has not been opened yet.
        """
        return self._resources.config

    @property
    def broker(self) -> Any:
        """sagaz's broker, or None; once the runtime has been opened, as `config`."""
        return self._resources.broker

    @property
    def publishes(self) -> bool:
        """Whether steps and outcomes are written to the outbox; known before the runtime is opened."""
        return self.configuration.publishes

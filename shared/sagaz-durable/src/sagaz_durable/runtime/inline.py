"""Running sagas in this process: to their end, or in the background."""

# What executes runs is imported where it is needed; see `sagaz_durable.runtime.starting`.

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.runtime.client import RuntimeClient

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.engine.result import SagaRun

__all__ = ["InlineRuns", "RunOptions"]


class RunOptions(TypedDict, total=False):
    """What `InlineRuns.run` may be given by name."""

    idempotency_key: str | None
    deadline: datetime | timedelta | None
    owner: str | None
    wait: float


_WAITING_THREADS = threading.BoundedSemaphore(10)


class InlineRuns(RuntimeClient):
    """Runs that this process executes, and a worker only if it dies."""

    async def run(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
        wait: float = 0.0,
    ) -> SagaRun:
        """Execute a saga to its end, here and now, and return its result: a dict, the context at the end.

        A caller that is cancelled does not cancel the run.

        Args:
            saga_class: It is registered by this.
            context: What the steps are given: a dict or a model, up to the setting ``max_context_bytes``.
            saga_id: The run's id, if the caller gives it one; instead of a key.
            idempotency_key: 1 to 200 printable characters. The same key, with the same context, gives the same run: the
                result of one that has completed is returned again.
            deadline, owner: As for `start`.
            wait: For how many seconds, 0 to 86,400, to wait for the end of a run that waits for a signal or a time, or
                that the key names and somebody else executes.

        Raises:
            Exception: The saga failed: the step's own exception, after compensation, with a note of saga_id and status;
                also after a wait, if it was this process that executed the run again.
            DeadlinePassed: The run's deadline passed, here or elsewhere, and it was rolled back (a `RunFailed`).
            InvalidInput: As for `start`; nothing was recorded.
            RunFailed: The run was given up; or it failed in another process, earlier, or before its last wait, so that
                the step's own exception is not known any more: what it said is in the message.
            RunInProgress: The key's earlier run has not ended.
            RunInterrupted: This process had to stop before the end; a worker resumes the run.
            RunWaiting: The run waits for a signal or a time, and goes on by itself when that comes.
            RuntimeNotOpen: The runtime is not open or shutting down, or this process can execute nothing more.
            SagaDefinitionError: The class cannot be run as written.
            StoreUnavailable: Nothing was recorded.
            UsageError: ``wait`` or ``deadline`` cannot be used; nothing was recorded.
        """
        from sagaz_durable.runtime.launching import Launching, run_here

        options = Launching(saga_id=saga_id, idempotency_key=idempotency_key, deadline=deadline, owner=owner)
        return await self._runtime.reach(lambda: run_here(self._runtime, saga_class, context, wait, **options))

    async def wait(self, saga_id: str, seconds: float) -> SagaRun:
        """Return the result of a run that ends within this time, whatever process executes it.

        However many wait in a process, one of them at a time asks the store. A run that this process has recorded, and
        would begin after a response, begins now.

        Args:
            saga_id: The run's.
            seconds: 0 to 86,400.

        Raises:
            Exception: It failed in this process meanwhile: the step's own exception, as from `run`.
            DeadlinePassed: It was rolled back because its deadline had passed (a `RunFailed`).
            RunFailed: It was rolled back, or needs manual intervention, elsewhere or before; what its step raised is in
                the message.
            RunInProgress: It has not ended.
            RunNotFound: There is none with this saga_id.
            RunWaiting: It waits for a signal or a time.
            StoreUnavailable: The store cannot be asked.
            UsageError: ``seconds`` is no such number.
        """
        from sagaz_durable.runtime.launching import result_within

        return await self._runtime.reach(lambda: result_within(self._runtime, saga_id, seconds))

    def wait_sync(self, saga_id: str, seconds: float) -> SagaRun:
        """Do as `wait`, in synchronous code; the thread does nothing else meanwhile.

        At most ten threads of a process wait at once; with more, this answers at once.
        """
        from sagaz_durable.runtime.launching import seconds_to_wait

        seconds_to_wait("seconds", seconds)
        if not _WAITING_THREADS.acquire(blocking=False):
            return self._runtime.call(lambda: self.wait(saga_id, 0.0))
        try:
            return self._runtime.call(lambda: self.wait(saga_id, seconds))
        finally:
            _WAITING_THREADS.release()

    def run_sync(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> SagaRun:
        """Do as `run`, in synchronous code, but for the wait; see `wait_sync`.

        Raises:
            UsageError: Called on the runtime's own event loop, which would wait for itself.
        """
        return self._runtime.call(
            lambda: self.run(
                saga_class, context, saga_id, idempotency_key=idempotency_key, deadline=deadline, owner=owner
            )
        )

    async def run_background(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> str:
        """Record a run, have this process execute it, and return its saga_id without waiting for the end.

        When this returns the run is durable. It begins at once, is not affected by what becomes of the caller, and is
        executed by a worker if this process dies. At most ``background_runs`` (a setting) are executed at once; the
        others wait as rows, which this process takes up when a place is free, and which any worker may take.

        Arguments and errors are those of `run`, but for what the saga itself comes to.
        """
        from sagaz_durable.runtime.launching import launch_in_background

        async def begin() -> str:
            saga_id, execution = await launch_in_background(
                self._runtime, saga_class, context, idempotency_key=idempotency_key, deadline=deadline, owner=owner
            )
            if execution is not None:
                self._runtime.runs.execute(execution)
            return saga_id

        return await self._runtime.reach(begin)

    def run_background_sync(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> str:
        """Do as `run_background`, in synchronous code."""
        return self._runtime.call(
            lambda: self.run_background(
                saga_class, context, idempotency_key=idempotency_key, deadline=deadline, owner=owner
            )
        )

"""Calling a step: async or plain, within its time limit, under a live lease, and telling its faults from ours."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from sagaz_durable.calls.foreign import is_awaitable
from sagaz_durable.calls.interpreter_exit import stops_the_process
from sagaz_durable.calls.limits import NO_LIMITS, Limits, check_call
from sagaz_durable.calls.thread_call import Function, Outcome, Scope, ThreadCall, as_exception, check_scope, told_by
from sagaz_durable.concurrency.cancellation import Halt, clear_own_cancellation, settle_own_cancellation
from sagaz_durable.concurrency.time_limits import TimeIsUp, within
from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.errors import RunInterrupted, StepError

__all__ = ["StepCaller", "is_async"]


class StepCaller:
    """Calls the functions of one run's steps.

    What user code raises is in the `Outcome`. What `call` itself raises is never the step's fault.

    Args:
        pool: Where plain functions run, so that they do not block the event loop.
        scope: Entered around every call, in the thread that makes it (an application context, connections).
        lease: Without which nothing is called.
        halt: Of the run.
    """

    def __init__(self, pool: Executor, scope: Scope, lease: Lease, halt: Halt) -> None:
        self._pool = pool
        self._scope = scope
        self._lease = lease
        self._halt = halt
        self._threads: dict[str, Future[Any]] = {}
        self._begun: set[str] = set()

    def has_begun(self, name: str) -> bool:
        """Whether the function of a step has begun here, or may have."""
        thread = self._threads.get(name)
        # One that was not cancelled in time is begun by its thread, whenever that comes to it.
        return name in self._begun or (thread is not None and not thread.cancelled())

    @property
    def in_threads(self) -> list[Future[Any]]:
        """The calls of plain functions that go on, whatever became of the run: a thread cannot be stopped."""
        return [call for call in self._threads.values() if not call.done()]

    async def call(self, name: str, function: Function, context: Any, timeout: float, limits: Limits) -> Outcome:
        """Call a step; a call before it that overran its limit in a thread is waited for.

        Args:
            timeout: The step's own limit, in seconds.
            limits: By which an async function may be stopped earlier; a plain one cannot be, and has its whole limit.

        Raises:
            LeaseLost: The lease ended before the call began; nothing was called.
            NotCalled: The limits were over before the call began.
            RunInterrupted: Too many threads do not come back, so that this process calls no more plain functions.
        """
        if (thread := self._threads.get(name)) is not None and not thread.done():
            await asyncio.wait([asyncio.wrap_future(thread)])
        if is_async(function):
            check_call(name, self._lease, limits)
            self._begun.add(name)
            return await self._on_loop(name, function, context, limits.shorten(timeout))
        outcome = await self._in_thread(name, function, context, timeout, limits)
        if is_awaitable(outcome.value):
            # A plain function around an async one, whose call has begun.
            check_call(name, self._lease, NO_LIMITS)
            return await self._on_loop(name, lambda _: outcome.value, context, limits.shorten(timeout))
        return outcome

    # Async functions.

    async def _on_loop(self, name: str, function: Function, context: Any, timeout: float) -> Outcome:
        outcome, told = Outcome(), None
        try:
            with self._scope():
                outcome = await self._awaited(name, function, context, timeout)
                if (told := told_by(outcome)) is not None:
                    raise told
        except Exception as error:
            # What the scope raises by itself is no fault of the step.
            if error is not told:
                check_scope(error)
                raise
        return outcome

    async def _awaited(self, name: str, function: Function, context: Any, timeout: float) -> Outcome:
        try:
            value = await within(timeout, function(context))
        except TimeIsUp:
            return Outcome(error=_timed_out(name, timeout), interrupted=True)
        except asyncio.CancelledError as error:
            if self._halt.reason is not None:
                raise
            clear_own_cancellation()
            return Outcome(error=_cancelled(name, error), interrupted=True)
        except BaseException as error:
            if stops_the_process(error):
                raise
            outcome = Outcome(error=as_exception(name, error))
        else:
            outcome = Outcome(value)
        # One that is left over would strike what comes next: the journal, or a pause before a further try.
        if self._halt.reason is None and await settle_own_cancellation() and outcome.error is None:
            return Outcome(error=_cancelled(name, None), interrupted=True)
        return outcome

    # Plain functions.

    async def _in_thread(self, name: str, function: Function, context: Any, timeout: float, limits: Limits) -> Outcome:
        if (exhausted := getattr(self._pool, "exhausted", None)) is not None:
            raise RunInterrupted(f"this process calls no more `def` steps: {exhausted}.")
        call = ThreadCall(name, function, context, self._scope, self._lease, limits)
        # Cancelled while it waits for a thread, it is never called; once it is called, it goes on to its end.
        future = self._threads[name] = self._pool.submit(contextvars.copy_context().run, call)
        waiter: asyncio.Future[Outcome] = asyncio.wrap_future(future)
        try:
            if await call.ends_within(timeout, waiter) or not _expires(function):
                return await waiter
        finally:
            waiter.cancel()
            if not future.done() and not future.cancel():
                self._watch(future, name, timeout, call.remaining(timeout))
        return Outcome(error=_timed_out(name, timeout), interrupted=True)

    def _watch(self, future: Future[Any], name: str, timeout: float, remaining: float) -> None:
        """Have a call that goes on noticed when it outlives its limit, although nobody waits for it any more."""
        if (outlived := getattr(self._pool, "outlived", None)) is None:
            return
        what = f"step {name!r} of run {self._lease.saga_id}"
        if remaining <= 0:
            outlived(future, what, timeout)
        else:
            asyncio.get_running_loop().call_later(remaining, outlived, future, what, timeout)


def _timed_out(name: str, seconds: float) -> TimeoutError:
    return TimeoutError(f"Step {name!r} timed out after {seconds:g} s.")


def _cancelled(name: str, cause: BaseException | None) -> StepError:
    error = StepError(f"Step {name!r} raised CancelledError, or cancelled its own task, without having been stopped.")
    error.__cause__ = cause
    return error


def _expires(function: Any) -> bool:
    """Whether the time limit ends a call; not one whose commit has begun."""
    expire: Callable[[], bool] | None = getattr(function, "expire", None)
    return expire is None or expire()


def is_async(function: Any) -> bool:
    """Whether a function is called on the event loop."""
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        # A function or method as most are; what follows looks through what is wrapped, and takes its time.
        return True
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

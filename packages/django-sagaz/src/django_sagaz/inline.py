"""Running sagas here and now, and waiting for the end of runs, from synchronous and asynchronous code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from asgiref.sync import markcoroutinefunction

from django_sagaz._execution.asgiref_bridge import is_async_to_sync
from django_sagaz._execution.current import close_executions, current_executions
from django_sagaz._execution.scopes import can_wait
from django_sagaz._project.current import current_project, current_registry
from django_sagaz._stores.connections import refuse_transaction
from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.engine.result import SagaRun
from sagaz_durable.runtime.bound_saga import refuse_without_loop
from sagaz_durable.runtime.client import function_form_of
from sagaz_durable.runtime.inline import InlineRuns, RunOptions
from sagaz_durable.runtime.launching import seconds_to_wait
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.errors import StoreNotReady, UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.runtime.runtime import SagazRuntime

    S = TypeVar("S", bound=Saga)

__all__ = ["async_saga_factory", "async_wait", "class_of", "close", "create_saga", "run_saga", "wait"]


def create_saga(saga_class: type[S]) -> S:
    """Return an instance for `run_saga`, or for ``await saga.run(…)`` in asynchronous code; the class is registered.

    Raises:
        SagaDefinitionError: The class cannot be run as written.
    """
    registration = current_registry().add(saga_class)
    saga: Any = registration.create()
    saga.run = _Run(saga_class)
    return cast("S", saga)


async def async_saga_factory(saga_class: type[S]) -> S:
    """Return an instance whose ``await saga.run(…)`` is a durable run; for async views."""
    return create_saga(saga_class)


def close() -> None:
    """Drain and close what executes runs in this process, with its database connections; the next use opens it anew.

    Not needed as a rule: it happens when the process exits. Tests whose event loop is not Django's need it before the
    test database is dropped.
    """
    close_executions()


def run_saga(
    saga: Saga | type[Saga],
    context: ContextLike = NOTHING,
    saga_id: str | None = None,
    *,
    idempotency_key: str | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> SagaRun:
    """Run a saga to its end, from synchronous code, and return its result.

    Its journal, and its ``def`` steps, use this thread's own database connection. Arguments and errors are those of
    `sagaz_durable.sagas.Sagas.run`, and:

    Args:
        saga: From `create_saga`, or the class.

    Raises:
        AtomicBlockError: A transaction is open, which could roll the journal back.
        StoreNotReady: The database lacks tables or rights, which the message names.
    """
    saga_class = class_of(saga)
    _refuse_running_loop("run_saga", "`saga = await async_saga_factory(OrderSaga)` and `await saga.run(…)`")
    refuse_transaction(current_project().alias)

    async def work(runtime: SagazRuntime) -> SagaRun:
        return await _run_inline(
            runtime, saga_class, context, saga_id, idempotency_key=idempotency_key, deadline=deadline, owner=owner
        )

    return current_executions().run(work)


class _Run:
    """What stands in for a bound instance's ``run``."""

    def __init__(self, saga_class: type[Saga]) -> None:
        self._saga_class = saga_class
        # async_to_sync wants to know beforehand that a call returns a coroutine.
        markcoroutinefunction(self)

    def __call__(
        self,
        initial_context: ContextLike = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
        wait: float = 0.0,
    ) -> Coroutine[Any, Any, SagaRun]:
        """Execute the saga durably, on a fresh instance, and return its result; to be awaited.

        Raises:
            UsageError: No event loop is running, so that nobody can await it.
        """
        if not is_async_to_sync(sys._getframe(1)):  # noqa: SLF001
            refuse_without_loop("In a synchronous view: run_saga(saga, context)")

        async def work(runtime: SagazRuntime) -> SagaRun:
            options = RunOptions(idempotency_key=idempotency_key, deadline=deadline, owner=owner, wait=wait)
            return await _run_inline(runtime, self._saga_class, initial_context, saga_id, **options)

        return current_executions().arun(work)


async def _run_inline(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: ContextLike,
    saga_id: str | None,
    **options: Unpack[RunOptions],
) -> SagaRun:
    lacks = current_project().lacks
    # Not in a TestCase, where queries are counted.
    if not runtime.is_private:
        await lacks.check(runtime.store)
    try:
        return await InlineRuns(runtime).run(saga_class, context, saga_id, **options)
    except StoreNotReady:
        await lacks.ask(runtime.store)
        raise


@function_form_of(Sagas.wait_sync)
def wait(*args: Any, **options: Any) -> Any:
    """Return the result of a run that ends within so many seconds, whatever process executes it; from synchronous code.

    The thread does nothing else meanwhile. At most ten threads of a process wait at once; with more, and in a
    ``TestCase``, it answers at once. See `sagaz_durable.sagas.Sagas.wait`.

    Raises:
        AtomicBlockError: A transaction is open, which would stay open for as long.
        SettingsError: Threads are greenlets here, by monkey-patching.
    """
    _refuse_running_loop("wait", "`await async_wait(saga_id, seconds)`")
    refuse_transaction(current_project().alias)
    executions = current_executions()
    if can_wait():
        return InlineRuns(executions.shared_runtime()).wait_sync(*args, **options)
    return executions.run(lambda runtime: _result(runtime, *args, **options, waits=False))


@function_form_of(Sagas.wait)
async def async_wait(*args: Any, **options: Any) -> Any:
    """Do as `wait`, in asynchronous code, in which as many requests as there are may wait."""
    # In a TestCase nobody else sees the run.
    return await current_executions().arun(
        lambda runtime: _result(runtime, *args, **options, waits=not runtime.is_private)
    )


async def _result(runtime: SagazRuntime, saga_id: str, seconds: float, *, waits: bool) -> SagaRun:
    seconds = seconds_to_wait("seconds", seconds)
    return await InlineRuns(runtime).wait(saga_id, seconds if waits else 0.0)


def class_of(saga: Any) -> type[Saga]:
    """Return the class of a saga, which may be given as an instance; whether it is one, the registry finds out."""
    # A class's name is one that was given in its place: the registry says so.
    return saga if isinstance(saga, type | str) else type(saga)  # type: ignore[return-value]


def _refuse_running_loop(called: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{called} was called in asynchronous code, where it would block the event loop. Use {instead}.")

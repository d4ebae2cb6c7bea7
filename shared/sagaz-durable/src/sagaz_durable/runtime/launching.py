"""Runs that this process executes itself: recorded under its own lease, and begun here and now."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict, Unpack

from sagaz_durable import ContextLike
from sagaz_durable.calls.foreign import is_a
from sagaz_durable.calls.waits import waits_for
from sagaz_durable.concurrency.clock import now
from sagaz_durable.engine.course import was_overdue
from sagaz_durable.engine.execution import RunExecution
from sagaz_durable.engine.result import SagaRun, missing
from sagaz_durable.runtime.new_run import accept, new_run
from sagaz_durable.runtime.starting import Starts, unstorable_refused
from sagaz_durable.serialization.client_ids import findable
from sagaz_durable.serialization.context_values import values_of
from sagaz_integration_core.context.request_run import key_of_request
from sagaz_integration_core.contract.records import FINISHED, ClaimedRun, NewRun
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import (
    DeadlinePassed,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunNotFound,
    RunWaiting,
    StepError,
    UsageError,
)

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = [
    "Launching",
    "finished_run",
    "launch",
    "launch_in_background",
    "result_within",
    "run_here",
    "seconds_to_wait",
]

_LONGEST_WAIT = 86_400
"""Seconds; whoever waits for longer asks again."""


class Launching(TypedDict, total=False):
    """What a run may be given besides its context; see `new_run`."""

    saga_id: str | None
    idempotency_key: str | None
    deadline: datetime | timedelta | None
    owner: str | None


async def launch(
    runtime: SagazRuntime, saga_class: type[Saga], context: ContextLike, **options: Unpack[Launching]
) -> tuple[str, RunExecution | None]:
    """Insert a run that this process has leased, and park it; None when the key's run was there already.

    `Runs.execute` executes it. If the process dies before that, a worker does.
    """
    runtime.check_fit()
    if options.get("saga_id") is None:
        options["idempotency_key"] = key_of_request(saga_class, options.get("idempotency_key"))
    run = new_run(runtime.configuration, saga_class, context, **options)
    first_steps = tuple(runtime.registry.first_steps.get(run.saga_name, ()))
    run = replace(run, lease_owner=runtime.owner, first_steps=first_steps)
    taken_at = now()
    with unstorable_refused([run]), runtime.launches.of(run) as is_first:
        [inserted] = await runtime.store.insert([run], runtime.settings.lease_seconds)
    accept(run, inserted, options.get("idempotency_key"))
    # A row that was recognised as one's own after its answer was lost may be another call's of this process.
    if not inserted.created or (inserted.recognised and not is_first):
        return run.saga_id, None
    claimed = ClaimedRun(
        run.saga_id, run.saga_name, "executing", run.context, None, run.correlation_id, attempt=1, failures=0,
        begun=tuple(step.name for step in first_steps), deadline_in=_left(run),
    )  # fmt: skip
    execution = runtime.runs.park(claimed, taken_at)
    runtime.launches.note(run.saga_id, execution)
    return run.saga_id, execution


def _left(run: NewRun) -> float | None:
    """Return how long a run has until its deadline that was inserted just now."""
    if isinstance(run.deadline, datetime):
        return (run.deadline - datetime.now(UTC)).total_seconds()
    return run.deadline


async def launch_in_background(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: ContextLike,
    *,
    idempotency_key: str | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> tuple[str, RunExecution | None]:
    """Record a run; return its saga_id, and what the caller has to execute, if this process has a place for it.

    Raises:
        RuntimeNotOpen: This process takes no new runs.
        StoreUnavailable: Nothing was recorded.
    """
    background = runtime.background
    if background.is_full:
        runtime.check_fit()
        saga_id = await Starts(runtime).start(
            saga_class, context, idempotency_key=idempotency_key, deadline=deadline, owner=owner
        )
        background.wait_for_place(saga_id)
        return saga_id, None
    with background.place():
        saga_id, execution = await launch(
            runtime, saga_class, context, idempotency_key=idempotency_key, deadline=deadline, owner=owner
        )
        if execution is not None:
            background.hold(execution)
        return saga_id, execution


async def run_here(
    runtime: SagazRuntime, saga_class: type[Saga], context: ContextLike, wait: float, **options: Unpack[Launching]
) -> SagaRun:
    """Execute a run here and now, on the runtime's own event loop; see `InlineRuns.run`."""
    wait = seconds_to_wait("wait", wait)
    saga_id, execution = await launch(runtime, saga_class, context, **options)
    if execution is not None:
        try:
            return await asyncio.shield(runtime.runs.execute(execution))
        except RunWaiting:
            if wait <= 0:
                raise
    return await result_within(runtime, saga_id, wait)


async def result_within(runtime: SagazRuntime, saga_id: str, seconds: float) -> SagaRun:
    """Return the result of a run, which may end within this time; see `InlineRuns.wait`."""
    if seconds_to_wait("seconds", seconds) > 0 and findable(saga_id):
        runtime.runs.begin(saga_id)
        here = await runtime.runs.ends.wait(saga_id, seconds)
        error = None if here is None else here.exception()
        # With a `StepError`, the step's own exception was raised in another attempt.
        if here is not None and error is not None and not is_a(error, StepError, RunInterrupted):
            here.result()
    return await finished_run(runtime, saga_id)


def seconds_to_wait(name: str, given: object) -> float:
    """Return for how many seconds somebody wants to wait.

    Raises:
        UsageError: It is no number, or none from 0 to 86,400.
    """
    # What is no number (nan) is in no order with any.
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= _LONGEST_WAIT:
        return given
    raise UsageError(f"{name}={value_text(given, 60)}: expected a number of seconds, 0 to {_LONGEST_WAIT}, as 2.5.")


async def finished_run(runtime: SagazRuntime, saga_id: str) -> SagaRun:
    """Return the recorded result of a run that completed.

    Raises:
        DeadlinePassed: It was rolled back because its deadline had passed.
        RunInProgress: It has not ended.
        RunNotFound: There is none with this saga_id.
        RunWaiting: It waits for a signal or a time.
        RunFailed: It was rolled back, or manual intervention is needed.
    """
    record = await runtime.store.load(saga_id) if findable(saga_id) else None
    if record is None:
        raise RunNotFound(missing(saga_id))
    if record.status == "waiting":
        waits = tuple(waits_for(wait) for wait in await runtime.store.load_waits(saga_id) if wait.outcome is None)
        raise RunWaiting(f"Run {saga_id} waits for {', and for '.join(waits)}.", saga_id, waits)
    if record.status not in FINISHED:
        raise RunInProgress(f"Run {saga_id} has not ended yet; ask for its status instead of starting it again.")
    if record.status != "completed":
        kind = DeadlinePassed if record.status == "rolled_back" and was_overdue(record.error) else RunFailed
        raise kind(f"Run {saga_id} of saga {record.saga_name!r} ended as {record.status}: {record.error}")
    saga_class = runtime.registry.get(record.saga_name).saga_class if record.saga_name in runtime.registry else None
    values = {**values_of(record, await runtime.store.load_steps(saga_id), saga_class), "saga_id": saga_id}
    return SagaRun(values, saga_id=saga_id, saga_name=record.saga_name, status="completed")

"""Starting runs: checked at the door, one insert, and then inline, in the background or for a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sagaz_durable.concurrency.clock import now
from sagaz_durable.engine.context_values import likeliest_path
from sagaz_durable.engine.execution import RunExecution
from sagaz_durable.engine.result import SagaRun
from sagaz_durable.runtime.new_run import accept, due_now, new_run, undelayed
from sagaz_durable.serialization.context_values import values_of
from sagaz_integration_core.contract.records import FINISHED, ClaimedRun, Inserted, NewRun
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import (
    ContextValueError,
    RunFailed,
    RunInProgress,
    UnstorableValue,
)

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = [
    "finished_run",
    "launch",
    "launch_in_background",
    "run_inline",
    "start",
    "start_many",
    "start_many_sync",
    "start_sync",
]


async def start(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: Mapping[str, Any],
    *,
    session: Any = None,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
) -> str:
    """Insert a run for a worker and return its saga_id; with ``session`` it joins that transaction.

    Raises:
        InvalidInput: The context, or the key, cannot be recorded; an `IdempotencyConflict` is one of these.
        Overloaded: More runs are due than ``max_due`` allows; nothing was recorded.
        StoreUnavailable: Nothing was recorded.
        WrongDatabase, TransactionRequired: The session cannot carry the run.
    """
    runtime.check_open()
    run = new_run(runtime, saga_class, context, idempotency_key=idempotency_key, not_before=not_before)
    await _admit(runtime, [run])
    [inserted] = await _insert(runtime, session, [run])
    return accept(run, inserted, idempotency_key)


def start_sync(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: Mapping[str, Any],
    *,
    session: Any = None,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
) -> str:
    """Do as `start`, from a thread that is not the event loop's; ``session`` is a synchronous one."""
    runtime.check_open()
    run = new_run(runtime, saga_class, context, idempotency_key=idempotency_key, not_before=not_before)
    _admit_sync(runtime, [run])
    [inserted] = _insert_sync(runtime, session, [run])
    return accept(run, inserted, idempotency_key)


async def start_many(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    contexts: Iterable[Mapping[str, Any]],
    *,
    session: Any = None,
    not_before: datetime | None = None,
) -> list[str]:
    """Insert many runs in one statement; all of them or none."""
    runs = _new_runs(runtime, saga_class, contexts, not_before)
    await _admit(runtime, runs)
    return [one.saga_id for one in await _insert(runtime, session, runs)] if runs else []


def start_many_sync(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    contexts: Iterable[Mapping[str, Any]],
    *,
    session: Any = None,
    not_before: datetime | None = None,
) -> list[str]:
    """Do as `start_many`, from a thread that is not the event loop's; ``session`` is a synchronous one."""
    runs = _new_runs(runtime, saga_class, contexts, not_before)
    _admit_sync(runtime, runs)
    return [one.saga_id for one in _insert_sync(runtime, session, runs)] if runs else []


def _new_runs(
    runtime: SagazRuntime, saga_class: type[Saga], contexts: Iterable[Mapping[str, Any]], not_before: datetime | None
) -> list[NewRun]:
    runtime.check_open()
    return [new_run(runtime, saga_class, context, not_before=not_before) for context in contexts]


async def _admit(runtime: SagazRuntime, runs: Sequence[NewRun]) -> None:
    if (backlog := runtime.backlog) is not None:
        if backlog.is_stale():
            backlog.learn(await runtime.store.stats())
        backlog.admit(due_now(runs))


def _admit_sync(runtime: SagazRuntime, runs: Sequence[NewRun]) -> None:
    if (backlog := runtime.backlog) is not None:
        if backlog.is_stale():
            backlog.learn(runtime.call(runtime.store.stats))
        backlog.admit(due_now(runs))


async def _insert(runtime: SagazRuntime, session: Any, runs: list[NewRun]) -> list[Inserted]:
    if session is None:
        with _unstorable_refused(runs):
            return await runtime.reach(lambda: runtime.store.insert(runs, runtime.settings.lease_seconds))
    from sagaz_durable.transactions.sessions import join

    return await join(session, runtime.store, runs)


def _insert_sync(runtime: SagazRuntime, session: Any, runs: list[NewRun]) -> list[Inserted]:
    if session is None:
        with _unstorable_refused(runs):
            answers = runtime.call(lambda: runtime.store.insert(runs, runtime.settings.lease_seconds))
    else:
        from sagaz_durable.transactions.sessions import join_sync

        answers = join_sync(session, runtime.store, runs)
    if runtime.dispatch is not None and (saga_ids := undelayed(runs, answers)):
        from sagaz_durable.transactions.commit_hooks import after_commit

        after_commit(session, partial(runtime.dispatch, saga_ids))
    return answers


@contextmanager
def _unstorable_refused(runs: Sequence[NewRun]) -> Iterator[None]:
    """Tell whoever starts a run what of its context this database cannot store."""
    try:
        yield
    except UnstorableValue as error:
        path = likeliest_path(run.context for run in runs)
        raise ContextValueError(f"{path or 'the context'}: {error_text(error)}", path) from error


async def launch(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: Mapping[str, Any],
    *,
    saga_id: str | None = None,
    idempotency_key: str | None = None,
) -> tuple[str, RunExecution | None]:
    """Insert a run that this process has leased, and park it; None when the key's run was there already.

    `Runs.execute` executes it. If the process dies before that, a worker does.
    """
    runtime.check_fit()
    run = new_run(runtime, saga_class, context, saga_id=saga_id, idempotency_key=idempotency_key)
    first_steps = tuple(runtime.registry.first_steps.get(run.saga_name, ()))
    run = replace(run, owner=runtime.owner, first_steps=first_steps)
    taken_at = now()
    with _unstorable_refused([run]), runtime.launches.of(run) as is_first:
        [inserted] = await runtime.store.insert([run], runtime.settings.lease_seconds)
    accept(run, inserted, idempotency_key)
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
    return run.deadline if run.deadline is None or isinstance(run.deadline, float) else _until(run.deadline)


def _until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


async def launch_in_background(
    runtime: SagazRuntime, saga_class: type[Saga], context: Mapping[str, Any], *, idempotency_key: str | None = None
) -> tuple[str, RunExecution | None]:
    """Record a run; return its saga_id, and what the caller has to execute, if this process has a place for it.

    Raises:
        RuntimeNotOpen: This process takes no new runs.
        StoreUnavailable: Nothing was recorded.
    """
    background = runtime.background
    if background.is_full:
        runtime.check_fit()
        saga_id = await start(runtime, saga_class, context, idempotency_key=idempotency_key)
        background.wait_for_place(saga_id)
        return saga_id, None
    with background.place():
        saga_id, execution = await launch(runtime, saga_class, context, idempotency_key=idempotency_key)
        if execution is not None:
            background.hold(execution)
        return saga_id, execution


async def run_inline(
    runtime: SagazRuntime,
    saga_class: type[Saga],
    context: Mapping[str, Any],
    *,
    saga_id: str | None = None,
    idempotency_key: str | None = None,
) -> SagaRun:
    """Execute a run here and now, and return its result.

    A caller that is cancelled does not cancel the run.

    Raises:
        Exception: The saga failed: the step's own exception, after compensation, with a note of saga_id and status.
        RunInterrupted: This process had to stop before the end; a worker resumes it.
        RunInProgress: The key's run exists and has not ended.
    """
    saga_id, execution = await launch(runtime, saga_class, context, saga_id=saga_id, idempotency_key=idempotency_key)
    if execution is None:
        return await finished_run(runtime, saga_id)
    return await asyncio.shield(runtime.runs.execute(execution))


async def finished_run(runtime: SagazRuntime, saga_id: str) -> SagaRun:
    """Return the recorded result of a run that completed.

    Raises:
        RunInProgress: It has not ended.
        RunFailed: It was rolled back, or a person is needed.
    """
    record = await runtime.store.load(saga_id)
    if record is None or record.status not in FINISHED:
        raise RunInProgress(f"Run {saga_id} has not ended yet; ask for its status instead of starting it again.")
    if record.status != "completed":
        raise RunFailed(f"Run {saga_id} of saga {record.saga_name!r} ended as {record.status}: {record.error}")
    values = {**values_of(record, await runtime.store.load_steps(saga_id)), "saga_id": saga_id}
    return SagaRun(values, saga_id=saga_id, saga_name=record.saga_name, status="completed")

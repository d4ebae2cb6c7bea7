"""Starting runs for a worker: checked at the door, and one insert, which may be part of the caller's transaction."""

# What executes runs is imported where it is needed: whoever only declares a dependency on this does not load it.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.runtime.client import RuntimeClient
from sagaz_integration_core.context.request_run import key_of_request
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import ContextValueError, UnstorableValue

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_integration_core.contract.records import Inserted, NewRun

__all__ = ["Starts", "unstorable_refused"]


class Starts(RuntimeClient):
    """Starts runs that a worker executes."""

    async def start(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        *,
        session: Any = None,
        idempotency_key: str | None = None,
        not_before: datetime | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> str:
        """Record a run for a worker and return its saga_id.

        Args:
            saga_class: It is registered by this.
            context: What the steps are given: a dict or a model, up to the setting ``max_context_bytes``.
            session: An SQLAlchemy session or connection (Flask-SQLAlchemy's ``db.session``), or a psycopg connection:
                the run exists if and only if its transaction is committed. Without, the run is committed when this
                returns.
            idempotency_key: 1 to 200 printable characters. The same key, with the same context, gives the same saga_id
                and one run; keys are scoped by saga.
            not_before: An aware datetime, before which no worker takes the run; by default one may at once.
            deadline: When the run stops going forward and is compensated, unless it has passed a pivot: an aware
                datetime, or a timedelta from the start on, or from ``not_before`` if that is later; by default the
                class's ``deadline``, if it has one.
            owner: Whom the run belongs to, in the application's own words, as ``"user:42"`` or ``"tenant-7"``: 1 to 255
                printable characters, which stay for ever, and by which runs are listed.

        Raises:
            InvalidInput: The context (`ContextValueError`), key or owner cannot be recorded, or the key was used with
                another payload or owner (`IdempotencyConflict`), or for a run that was erased since (`RunErased`).
            Overloaded: More runs are due than the setting ``max_due`` allows; nothing was recorded.
            RuntimeNotOpen: The runtime is not open, or shutting down.
            SagaDefinitionError: The class cannot be run as written.
            StoreUnavailable: Nothing was recorded.
            TransactionRequired, WrongDatabase: The session cannot carry the run.
            UsageError: ``not_before`` or ``deadline`` cannot be used, as one without a time zone, or ten years ahead.
        """
        idempotency_key = key_of_request(saga_class, idempotency_key)
        run = self._new_run(saga_class, context, idempotency_key, not_before, deadline, owner)
        await _admit(self._runtime, [run])
        [inserted] = await _insert(self._runtime, session, [run])
        return _accept(run, inserted, idempotency_key)

    def start_sync(
        self,
        saga_class: type[Saga],
        context: ContextLike = NOTHING,
        *,
        session: Any = None,
        idempotency_key: str | None = None,
        not_before: datetime | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> str:
        """Do as `start`, in synchronous code and with a synchronous session.

        Raises:
            UsageError: Called on the runtime's own event loop, which would wait for itself.
        """
        idempotency_key = key_of_request(saga_class, idempotency_key)
        run = self._new_run(saga_class, context, idempotency_key, not_before, deadline, owner)
        _admit_sync(self._runtime, [run])
        [inserted] = _insert_sync(self._runtime, session, [run])
        return _accept(run, inserted, idempotency_key)

    async def start_many(
        self,
        saga_class: type[Saga],
        contexts: Iterable[ContextLike],
        *,
        session: Any = None,
        not_before: datetime | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> list[str]:
        """Record many runs of one saga in one statement, all of them or none; return their saga_ids in order.

        Arguments and errors are those of `start`.
        """
        runs = [self._new_run(saga_class, context, None, not_before, deadline, owner) for context in contexts]
        await _admit(self._runtime, runs)
        return [one.saga_id for one in await _insert(self._runtime, session, runs)] if runs else []

    def start_many_sync(
        self,
        saga_class: type[Saga],
        contexts: Iterable[ContextLike],
        *,
        session: Any = None,
        not_before: datetime | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> list[str]:
        """Do as `start_many`, in synchronous code and with a synchronous session."""
        runs = [self._new_run(saga_class, context, None, not_before, deadline, owner) for context in contexts]
        _admit_sync(self._runtime, runs)
        return [one.saga_id for one in _insert_sync(self._runtime, session, runs)] if runs else []

    def _new_run(
        self,
        saga_class: type[Saga],
        context: ContextLike,
        key: str | None,
        not_before: datetime | None,
        deadline: datetime | timedelta | None,
        owner: str | None,
    ) -> NewRun:
        from sagaz_durable.runtime.new_run import new_run

        self._runtime.check_open()
        return new_run(
            self._runtime.configuration, saga_class, context, idempotency_key=key, not_before=not_before,
            deadline=deadline, owner=owner,
        )  # fmt: skip


def _accept(run: NewRun, inserted: Inserted, key: str | None) -> str:
    from sagaz_durable.runtime.new_run import accept

    return accept(run, inserted, key)


def _due_now(runs: Sequence[NewRun]) -> int:
    from sagaz_durable.runtime.new_run import due_now

    return due_now(runs)


async def _admit(runtime: SagazRuntime, runs: Sequence[NewRun]) -> None:
    if (backlog := runtime.configuration.backlog) is not None:
        if backlog.is_stale():
            backlog.learn(await runtime.store.stats())
        backlog.admit(_due_now(runs))


def _admit_sync(runtime: SagazRuntime, runs: Sequence[NewRun]) -> None:
    if (backlog := runtime.configuration.backlog) is not None:
        if backlog.is_stale():
            backlog.learn(runtime.call(runtime.store.stats))
        backlog.admit(_due_now(runs))


async def _insert(runtime: SagazRuntime, session: Any, runs: list[NewRun]) -> list[Inserted]:
    if session is None:
        with unstorable_refused(runs):
            return await runtime.reach(lambda: runtime.store.insert(runs, runtime.settings.lease_seconds))
    from sagaz_durable.transactions.sessions import join

    return await join(session, runtime.store, runs)


def _insert_sync(runtime: SagazRuntime, session: Any, runs: list[NewRun]) -> list[Inserted]:
    if session is None:
        with unstorable_refused(runs):
            answers = runtime.call(lambda: runtime.store.insert(runs, runtime.settings.lease_seconds))
    else:
        from sagaz_durable.transactions.sessions import join_sync

        answers = join_sync(session, runtime.store, runs)
    if (dispatch := runtime.configuration.dispatch) is not None:
        from sagaz_durable.runtime.new_run import undelayed
        from sagaz_durable.transactions.commit_hooks import after_commit

        if saga_ids := undelayed(runs, answers):
            after_commit(session, partial(dispatch, saga_ids))
    return answers


@contextmanager
def unstorable_refused(runs: Sequence[NewRun]) -> Iterator[None]:
    """Tell whoever starts a run what of its context this database cannot store."""
    try:
        yield
    except UnstorableValue as error:
        from sagaz_durable.calls.context_values import likeliest_path

        path = likeliest_path(run.context for run in runs)
        raise ContextValueError(f"{path or 'the context'}: {error_text(error)}", path) from error

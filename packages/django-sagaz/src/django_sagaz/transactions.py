"""Starting a saga as part of the caller's own database transaction: it exists if and only if the other rows do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from django_sagaz._execution.ask_store import ask
from django_sagaz._project.current import current_project
from django_sagaz._project.project import Project
from django_sagaz._stores.connections import in_transaction
from django_sagaz._stores.runners import immediately
from django_sagaz.inline import class_of
from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.runtime import new_run
from sagaz_durable.runtime.client import form_of
from sagaz_integration_core.context.request_run import key_of_request
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.errors import TransactionRequired, WrongDatabase

if TYPE_CHECKING:
    from sagaz import Saga

__all__ = [
    "atomic_saga_start",
    "atomic_saga_start_many",
    "dispatch_after_commit",
    "joined_project",
    "run_deferred",
    "saga_context",
]

T = TypeVar("T")
P = ParamSpec("P")

_captured: ContextVar[str | None] = ContextVar("sagaz_transaction", default=None)


def atomic_saga_start(
    saga_class: type[Saga],
    context: ContextLike = NOTHING,
    *,
    connection: Any = None,
    using: str | None = None,
    idempotency_key: str | None = None,
    not_before: datetime | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> str:
    """Start a saga with the commit of the transaction that is open, and return its saga_id; a worker runs it.

    One INSERT on the transaction's own connection. A rollback, also of a savepoint, leaves nothing.

    Arguments and errors are those of `sagaz_durable.sagas.Sagas.start`; in place of ``session`` there is the
    transaction.

    Args:
        connection: The connection of the transaction, as ``transaction.get_connection()`` returns it.
        using: Or its database alias; by default the one that sagas are kept in.

    Raises:
        TransactionRequired: No transaction is open.
        WrongDatabase: It is open on another database than the one that sagas are kept in.
        StoreNotReady: The database lacks tables or rights, which the message names.
        DatabaseError: What Django raises for a conflict with another transaction; yours is to be begun anew.
    """
    project = joined_project(connection, using)
    idempotency_key = key_of_request(class_of(saga_class), idempotency_key)
    run = new_run.new_run(
        project.configuration,
        class_of(saga_class),
        context,
        idempotency_key=idempotency_key,
        not_before=not_before,
        deadline=deadline,
        owner=owner,
    )
    _admit(project, [run])
    inserted = project.lacks.insert(project.store, lambda: project.store.start(run))
    if project.configuration.dispatch is not None:
        dispatch_after_commit(project, new_run.undelayed([run], [inserted]))
    return new_run.accept(run, inserted, idempotency_key)


def atomic_saga_start_many(
    saga_class: type[Saga],
    contexts: Iterable[ContextLike],
    *,
    connection: Any = None,
    using: str | None = None,
    not_before: datetime | None = None,
    deadline: datetime | timedelta | None = None,
    owner: str | None = None,
) -> list[str]:
    """Start many runs of one saga with the commit of the transaction that is open; return their saga_ids in order.

    Arguments and errors are those of `atomic_saga_start`; see `sagaz_durable.sagas.Sagas.start_many`.
    """
    project = joined_project(connection, using)
    of = class_of(saga_class)
    runs = [
        new_run.new_run(project.configuration, of, context, not_before=not_before, deadline=deadline, owner=owner)
        for context in contexts
    ]
    if runs:
        _admit(project, runs)
        lease = project.settings.lease_seconds
        inserted = project.lacks.insert(project.store, lambda: immediately(project.store.insert(runs, lease)))
        dispatch_after_commit(project, new_run.undelayed(runs, inserted))
    return [run.saga_id for run in runs]


def _admit(project: Project, runs: Sequence[NewRun]) -> None:
    if (backlog := project.configuration.backlog) is not None:
        if backlog.is_stale():
            backlog.learn(ask(project, lambda store: store.stats()))
        backlog.admit(new_run.due_now(runs))


def dispatch_after_commit(project: Project, saga_ids: list[str]) -> None:
    """Tell Celery after the commit, if that is who executes runs; a savepoint that is rolled back takes it back."""
    dispatch = project.configuration.dispatch
    if dispatch is None or not saga_ids or project.alias is None:
        return
    # Nobody is told of a commit that is made by hand, with autocommit off; the sweep finds those runs.
    if connections[project.alias].in_atomic_block:
        transaction.on_commit(partial(dispatch, saga_ids), using=project.alias, robust=True)


@form_of(atomic_saga_start)
def run_deferred(saga: Saga | type[Saga], *args: Any, **options: Any) -> str:
    """Do as `atomic_saga_start`, with a saga's instance or class; within `saga_context`, in its transaction."""
    if not {"connection", "using"} & options.keys():
        options["using"] = _captured.get()
    return atomic_saga_start(class_of(saga), *args, **options)


@overload
def saga_context(view: Callable[P, T]) -> Callable[P, T]: ...


@overload
def saga_context(*, using: str | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def saga_context(view: Any = None, *, using: str | None = None) -> Any:
    """Decorate a function inside ``@transaction.atomic``: what it starts with ``run_deferred`` joins that transaction.

    That there is one is checked before the function is called, rather than in the middle of it.

    Args:
        using: The database alias of the transaction; by default the one that sagas are kept in.

    Raises:
        TypeError: The function is asynchronous, which Django's transactions cannot be.
    """
    if view is None:
        return partial(saga_context, using=using)
    if inspect.iscoroutinefunction(view):
        raise TypeError(
            f"@saga_context was given the coroutine function {view.__qualname__}, and Django's transactions are "
            "synchronous. Put the transaction into a plain function and await sync_to_async(function)(…)."
        )

    @wraps(view)
    def within(*args: Any, **kwargs: Any) -> Any:
        _require_transaction(current_project(), using)
        token = _captured.set(using)
        try:
            return view(*args, **kwargs)
        finally:
            _captured.reset(token)

    return within


def joined_project(connection: Any, using: str | None, what: str = "saga") -> Project:
    """Return the project, in whose database the caller's transaction is open.

    Raises:
        TransactionRequired: None is.
        WrongDatabase: It is on another database, the arguments contradict each other, or the connection is another
            thread's.
    """
    project = current_project()
    _require_transaction(project, _given_alias(connection, using), what)
    return project


def _given_alias(connection: Any, using: str | None) -> str | None:
    """Return the database alias that a caller's transaction is said to be on; None if neither argument says it.

    Raises:
        WrongDatabase: The two name different ones, or it is another thread's connection.
    """
    if connection is None:
        return using
    alias: str = connection.alias
    if using not in (None, alias):
        raise WrongDatabase(f"connection= is on database {alias!r} and using= names {using!r}; give one of them.")
    if connections[alias] is not connection:
        raise WrongDatabase(
            f"connection= is on database {alias!r}, but not this thread's own connection. Pass "
            "transaction.get_connection(), called on this thread."
        )
    return alias


def _require_transaction(project: Project, alias: str | None, what: str = "saga") -> None:
    """Check that a transaction is open on the database that sagas are kept in.

    Raises:
        TransactionRequired: None is.
        WrongDatabase: It is on another database.
    """
    home = project.alias
    if home is None:
        _ = project.store  # Raises, and says why.
    elif alias not in (None, home):
        raise WrongDatabase(
            f"The transaction is on database {alias!r}, and sagas are kept in {home!r}: they could not commit "
            f'together. Use transaction.atomic(using={home!r}), or set SAGAZ["DATABASE"] = {alias!r}.'
        )
    elif not in_transaction(connections[home]):
        raise TransactionRequired(
            f"No transaction is open on database {home!r}, so there is nothing that the {what} could commit with. "
            f"Put it and the rows that belong to it into one `with transaction.atomic({_using(home)}):` block."
        )


def _using(alias: str) -> str:
    return "" if alias == DEFAULT_DB_ALIAS else f"using={alias!r}"

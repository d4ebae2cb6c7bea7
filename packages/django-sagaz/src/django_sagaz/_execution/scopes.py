"""What single runs are asked and decided about through: this thread's own connection, or a store outside of Django."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from django_sagaz._execution.current import current_executions
from django_sagaz._project.current import current_project
from django_sagaz._stores.connections import in_transaction
from django_sagaz._stores.runners import immediately
from sagaz_durable.concurrency.greenlets import refuse_greenlets
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from django_sagaz._project.project import Project
    from sagaz_durable.operations.scope import ReachableScope

__all__ = ["asynchronous_scope", "can_wait", "synchronous_scope"]

T = TypeVar("T")


def synchronous_scope() -> ReachableScope:
    """Return a scope for synchronous code, by its ``call``.

    Raises:
        StoreUnavailable: The store outside of Django cannot be opened.
    """
    project = current_project()
    return current_executions().shared_runtime() if project.alias is None else _ThisThread(project)


async def asynchronous_scope() -> ReachableScope:
    """Return a scope for coroutines; of Django's databases, that one's connection which belongs to the context.

    Raises:
        StoreUnavailable: The store outside of Django cannot be opened.
    """
    project = current_project()
    if project.alias is None:
        return await sync_to_async(current_executions().shared_runtime)()
    return _ThisContext(project)


def can_wait() -> bool:
    """Whether this thread may wait for the end of a run that it has started: others see the run, and may execute it."""
    project = current_project()
    try:
        refuse_greenlets()
    except SettingsError:
        return False
    return project.alias is None or not (project.is_private or in_transaction(connections[project.alias]))


class _ThisThread:
    """A project's sagas on this thread's own connection, for which no runtime has to be opened."""

    def __init__(self, project: Project) -> None:
        self.store = project.store
        self.registry = project.registry
        self.settings = project.settings
        self.publishes = project.configuration.publishes

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await work()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return immediately(work())


class _ThisContext(_ThisThread):
    """The same for coroutines: on the thread that Django reserves for their context."""

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await sync_to_async(self.call)(work)

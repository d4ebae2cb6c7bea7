"""Dispatch by Celery: what a project's transactions start is executed by Celery's workers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from django_sagaz._execution.current import current_executions
from django_sagaz._project import dispatch
from sagaz_durable.celery import RUN, SWEEP, CeleryDispatch

if TYPE_CHECKING:
    from celery import Celery

    from sagaz_durable.runtime.runtime import SagazRuntime

    T = TypeVar("T")

__all__ = ["RUN", "SWEEP", "register"]


def register(celery: Celery) -> None:
    """Give Celery's workers the tasks that execute the project's runs: ``sagaz.run`` and ``sagaz.sweep``.

    With ``SAGAZ["DISPATCH"] = "celery"``, each start sends a ``sagaz.run`` after its commit. Called where the Celery
    application is made; no setting is read yet.

    Raises:
        SettingsError: It was called for this Celery application already.
    """
    dispatch.register(CeleryDispatch(celery, _perform, lambda: current_executions().close()))


def _perform(work: Callable[[SagazRuntime], Coroutine[Any, Any, T]]) -> T:
    return current_executions().run_apart(work)

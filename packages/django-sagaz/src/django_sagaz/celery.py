"""Dispatch by Celery: what a project's transactions start is executed by Celery's workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.apps import apps

from sagaz_durable.celery import RUN, SWEEP, CeleryDispatch

if TYPE_CHECKING:
    from celery import Celery

    from django_sagaz._execution.executions import Executions
    from django_sagaz.apps import DjangoSagazConfig
    from sagaz_durable.runtime.runtime import SagazRuntime

    T = TypeVar("T")

__all__ = ["RUN", "SWEEP", "is_registered", "register", "send"]

logger = logging.getLogger(__name__)

# As Django's settings and applications: one for each process. The project's Celery application is made before these.
_registered: CeleryDispatch | None = None


def register(celery: Celery) -> None:
    """Give Celery's workers the tasks that execute the project's runs: ``sagaz.run`` and ``sagaz.sweep``.

    With ``SAGAZ["DISPATCH"] = "celery"``, each start sends a ``sagaz.run`` after its commit. Called where the Celery
    application is made; no setting is read yet.

    Raises:
        SettingsError: It was called for this Celery application already.
    """
    global _registered
    _registered = CeleryDispatch(celery, _perform, lambda: _executions().close())


def is_registered() -> bool:
    """Whether this process knows the project's Celery application."""
    return _registered is not None


def send(saga_ids: Sequence[str]) -> None:
    """Tell Celery's workers of runs that are committed; what they cannot be told of now, the sweep finds."""
    if _registered is None:
        logger.error(
            "SAGAZ['DISPATCH'] is 'celery', and no Celery application is registered: nobody was told of %d runs. Call "
            "django_sagaz.celery.register(app) where it is made, and import that module in the project's __init__.py.",
            len(saga_ids),
        )
    else:
        _registered.send(saga_ids)


def _perform(work: Callable[[SagazRuntime], Coroutine[Any, Any, T]]) -> T:
    return _executions().run_apart(work)


def _executions() -> Executions:
    return cast("DjangoSagazConfig", apps.get_app_config("django_sagaz")).executions

"""Dispatch by Celery: what an application starts for later is executed by Celery's workers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from flask_sagaz._app_state import KEY
from sagaz_durable.celery import RUN, SWEEP, CeleryDispatch
from sagaz_integration_core.errors import RuntimeNotOpen

if TYPE_CHECKING:
    from celery import Celery
    from flask import Flask

    from flask_sagaz._app_state import AppState
    from sagaz_durable.runtime.runtime import SagazRuntime

    T = TypeVar("T")

__all__ = ["RUN", "SWEEP", "register"]


def register(celery: Celery, app: Flask) -> None:
    """Give Celery's workers the tasks that execute an application's runs: ``sagaz.run`` and ``sagaz.sweep``.

    With ``SAGAZ_DISPATCH=celery``, each start sends a ``sagaz.run`` after its commit.

    Args:
        celery: Called for this application only.
        app: It has its extension already; the Celery application keeps it from now on.

    Raises:
        RuntimeNotOpen: The application has no extension.
        SettingsError: The Celery application executes the runs of an application already.
    """
    state: AppState | None = app.extensions.get(KEY)
    if state is None:
        raise RuntimeNotOpen(
            f"The application {app.name!r} has no SagazExtension yet. Give it one first: SagazExtension(app), or "
            "sagaz.init_app(app)."
        )

    def perform(work: Callable[[SagazRuntime], Coroutine[Any, Any, T]]) -> T:
        # Asked for by way of the application, so that this keeps it: nobody else may, in a process of Celery's.
        kept: AppState = app.extensions[KEY]
        runtime = kept.process().get()
        return runtime.call(lambda: work(runtime), interruptible=True)

    state.dispatch = CeleryDispatch(celery, perform, lambda: state.process().close()).send

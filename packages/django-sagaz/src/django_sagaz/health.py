"""What a project's own health view asks: whether sagas can be started here now, and whether work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from asgiref.sync import sync_to_async
from django.apps import apps

from sagaz_durable.operations.health import ProbeResult
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from django_sagaz._execution.executions import Executions
    from django_sagaz.apps import DjangoSagazConfig

__all__ = ["areadiness", "liveness", "readiness"]


def readiness() -> ProbeResult:
    """Tell whether sagas can be started now: the database answers, and lacks neither tables nor rights.

    Asked on this thread's own connection. The result is true when all is well, else its ``problem`` says what to do; it
    raises nothing.
    """
    try:
        return _executions().readiness()
    except SagazError as error:
        return ProbeResult(False, str(error))


async def areadiness() -> ProbeResult:
    """Do as `readiness`, in asynchronous code."""
    return await sync_to_async(readiness, thread_sensitive=True)()


def liveness() -> ProbeResult:
    """Tell whether this process does its work; if not, restarting it helps. An unreachable database is no reason."""
    try:
        return _executions().liveness()
    except SagazError as error:
        return ProbeResult(False, str(error))


def _executions() -> Executions:
    return cast("DjangoSagazConfig", apps.get_app_config("django_sagaz")).executions

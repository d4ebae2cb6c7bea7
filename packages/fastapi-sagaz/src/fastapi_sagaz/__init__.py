"""Sagas in FastAPI applications that cannot be lost, cannot run twice at once and resume where their process died."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastapi_sagaz.background import run_saga_background
from fastapi_sagaz.dependencies import SagaFactory, SagaStarter, get_config
from fastapi_sagaz.events import EventPublisher
from fastapi_sagaz.health import liveness, readiness
from fastapi_sagaz.lifespan import create_lifespan
from fastapi_sagaz.middleware import SagaContextMiddleware
from sagaz_integration_core import errors as _errors
from sagaz_integration_core import guard_import
from sagaz_integration_core.alembic import exclude_sagaz_tables
from sagaz_integration_core.errors import *  # noqa: F403 - whatever it raises is public here, too

if TYPE_CHECKING:
    from sagaz_integration_core import Saga, action, compensate
    from sagaz_integration_core.health import ProbeResult
    from sagaz_integration_core.runs import SagaRun
    from sagaz_integration_core.settings import Settings
    from sagaz_integration_core.starts import saga_id_of
    from sagaz_integration_core.steps import CurrentStep, current_step

__all__ = [
    "CurrentStep",
    "EventPublisher",
    "ProbeResult",
    "Saga",
    "SagaContextMiddleware",
    "SagaFactory",
    "SagaRun",
    "SagaStarter",
    "Settings",
    "action",
    "compensate",
    "create_lifespan",
    "current_step",
    "exclude_sagaz_tables",
    "get_config",
    "liveness",
    "readiness",
    "run_saga_background",
    "saga_id_of",
]
__all__ += _errors.__all__

# Whoever imports sagaz, before or after: the root logger stays as the application configured it.
guard_import()

# sagaz itself takes a third of a second to import; whoever only wires an application does not pay for it.
_LATER = {
    "CurrentStep": "sagaz_integration_core.steps",
    "ProbeResult": "sagaz_integration_core.health",
    "Saga": "sagaz_integration_core",
    "SagaRun": "sagaz_integration_core.runs",
    "Settings": "sagaz_integration_core.settings",
    "action": "sagaz_integration_core",
    "compensate": "sagaz_integration_core",
    "current_step": "sagaz_integration_core.steps",
    "saga_id_of": "sagaz_integration_core.starts",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value

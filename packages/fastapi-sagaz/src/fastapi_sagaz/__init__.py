"""Sagas in FastAPI applications that cannot be lost, cannot run twice at once and resume where their process died."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sagaz_durable import guard_import
from sagaz_integration_core import errors as _errors
from sagaz_integration_core.errors import *  # noqa: F403 - whatever it raises is public here, too

if TYPE_CHECKING:
    from fastapi_sagaz.background import run_saga_background
    from fastapi_sagaz.dependencies import SagaFactory, Sagas, SagaStarter, get_config, sagas_of
    from fastapi_sagaz.events import EventPublisher
    from fastapi_sagaz.health import liveness, readiness
    from fastapi_sagaz.http.handlers import problem_handlers
    from fastapi_sagaz.http.idempotency import Idempotent, IdempotentRoute
    from fastapi_sagaz.http.probes import health_router
    from fastapi_sagaz.http.router import SagazRouter, sagaz_router
    from fastapi_sagaz.lifespan import create_lifespan
    from fastapi_sagaz.middleware import SagaContextMiddleware
    from fastapi_sagaz.webhooks import webhook_router
    from sagaz_durable import Saga, action, compensate
    from sagaz_durable.alembic import exclude_sagaz_tables
    from sagaz_durable.effects import effect
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.http.access import Subject, Verb
    from sagaz_durable.operations.approvals import Approval
    from sagaz_durable.operations.health import ProbeResult
    from sagaz_durable.runtime.new_run import saga_id_of
    from sagaz_durable.settings.settings import Settings
    from sagaz_durable.webhooks.resuming import resumes
    from sagaz_integration_core.context.current_step import CurrentStep, current_step

__all__ = [
    "Approval",
    "CurrentStep",
    "EventPublisher",
    "Idempotent",
    "IdempotentRoute",
    "ProbeResult",
    "Saga",
    "SagaContextMiddleware",
    "SagaFactory",
    "SagaRun",
    "SagaStarter",
    "Sagas",
    "SagazRouter",
    "Settings",
    "Subject",
    "Verb",
    "action",
    "compensate",
    "create_lifespan",
    "current_step",
    "effect",
    "exclude_sagaz_tables",
    "get_config",
    "health_router",
    "liveness",
    "problem_handlers",
    "readiness",
    "resumes",
    "run_saga_background",
    "saga_id_of",
    "sagas_of",
    "sagaz_router",
    "webhook_router",
]
__all__ += _errors.__all__

# Whoever imports sagaz, before or after: the root logger stays as the application configured it.
guard_import()

# Each name brings what it needs: whoever imports the package pays for what he uses, and not for sagaz before a saga is
# declared, which takes a third of a second.
_LATER = {
    "Approval": "sagaz_durable.operations.approvals",
    "CurrentStep": "sagaz_integration_core.context.current_step",
    "EventPublisher": "fastapi_sagaz.events",
    "Idempotent": "fastapi_sagaz.http.idempotency",
    "IdempotentRoute": "fastapi_sagaz.http.idempotency",
    "ProbeResult": "sagaz_durable.operations.health",
    "Saga": "sagaz_durable",
    "SagaContextMiddleware": "fastapi_sagaz.middleware",
    "SagaFactory": "fastapi_sagaz.dependencies",
    "SagaRun": "sagaz_durable.engine.result",
    "SagaStarter": "fastapi_sagaz.dependencies",
    "Sagas": "fastapi_sagaz.dependencies",
    "SagazRouter": "fastapi_sagaz.http.router",
    "Settings": "sagaz_durable.settings.settings",
    "Subject": "sagaz_durable.http.access",
    "Verb": "sagaz_durable.http.access",
    "action": "sagaz_durable",
    "compensate": "sagaz_durable",
    "create_lifespan": "fastapi_sagaz.lifespan",
    "current_step": "sagaz_integration_core.context.current_step",
    "effect": "sagaz_durable.effects",
    "exclude_sagaz_tables": "sagaz_durable.alembic",
    "get_config": "fastapi_sagaz.dependencies",
    "health_router": "fastapi_sagaz.http.probes",
    "liveness": "fastapi_sagaz.health",
    "problem_handlers": "fastapi_sagaz.http.handlers",
    "readiness": "fastapi_sagaz.health",
    "resumes": "sagaz_durable.webhooks.resuming",
    "run_saga_background": "fastapi_sagaz.background",
    "saga_id_of": "sagaz_durable.runtime.new_run",
    "sagas_of": "fastapi_sagaz.dependencies",
    "sagaz_router": "fastapi_sagaz.http.router",
    "webhook_router": "fastapi_sagaz.webhooks",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value

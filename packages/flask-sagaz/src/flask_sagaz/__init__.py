"""Sagas in Flask applications that cannot be lost, cannot run twice at once and resume where their process died."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import sagaz_durable
from sagaz_integration_core import errors as _errors
from sagaz_integration_core.errors import *  # noqa: F403 - whatever it raises is public here, too

if TYPE_CHECKING:
    from flask_sagaz.extension import SagazExtension, current_sagaz
    from flask_sagaz.http.blueprint import SagazBlueprint
    from flask_sagaz.http.idempotency import idempotent
    from flask_sagaz.webhooks import webhook_blueprint
    from sagaz_durable import Saga, action, compensate
    from sagaz_durable.alembic import exclude_sagaz_tables
    from sagaz_durable.effects import effect
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.http.access import Subject, Verb
    from sagaz_durable.operations.approvals import Approval
    from sagaz_durable.operations.health import ProbeResult
    from sagaz_durable.runtime.new_run import saga_id_of
    from sagaz_durable.serialization.json_body import read_json
    from sagaz_durable.settings.settings import Settings
    from sagaz_durable.webhooks.resuming import resumes
    from sagaz_integration_core.context.current_step import CurrentStep, current_step

__all__ = [
    "Approval",
    "CurrentStep",
    "ProbeResult",
    "Saga",
    "SagaRun",
    "SagazBlueprint",
    "SagazExtension",
    "Settings",
    "Subject",
    "Verb",
    "action",
    "compensate",
    "current_sagaz",
    "current_step",
    "effect",
    "exclude_sagaz_tables",
    "idempotent",
    "read_json",
    "resumes",
    "saga_id_of",
    "webhook_blueprint",
]
__all__ += _errors.__all__

# Whoever imports sagaz, before or after: the root logger stays as the application configured it.
sagaz_durable.guard_import()


# Each name brings what it needs: whoever imports the package pays for what he uses, and not for sagaz before a saga is
# declared, which takes a third of a second.
_LATER = {
    "Approval": "sagaz_durable.operations.approvals",
    "CurrentStep": "sagaz_integration_core.context.current_step",
    "ProbeResult": "sagaz_durable.operations.health",
    "Saga": "sagaz_durable",
    "SagaRun": "sagaz_durable.engine.result",
    "SagazBlueprint": "flask_sagaz.http.blueprint",
    "SagazExtension": "flask_sagaz.extension",
    "Settings": "sagaz_durable.settings.settings",
    "Subject": "sagaz_durable.http.access",
    "Verb": "sagaz_durable.http.access",
    "action": "sagaz_durable",
    "compensate": "sagaz_durable",
    "current_sagaz": "flask_sagaz.extension",
    "current_step": "sagaz_integration_core.context.current_step",
    "effect": "sagaz_durable.effects",
    "exclude_sagaz_tables": "sagaz_durable.alembic",
    "idempotent": "flask_sagaz.http.idempotency",
    "read_json": "sagaz_durable.serialization.json_body",
    "resumes": "sagaz_durable.webhooks.resuming",
    "saga_id_of": "sagaz_durable.runtime.new_run",
    "webhook_blueprint": "flask_sagaz.webhooks",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value

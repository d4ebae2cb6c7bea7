"""Sagas in Django projects that start with the database transaction, or not at all, and cannot be lost after it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import sagaz_durable
from django_sagaz.errors import AtomicBlockError
from sagaz_integration_core import errors as _errors
from sagaz_integration_core.errors import *  # noqa: F403 - whatever it raises is public here, too

if TYPE_CHECKING:
    from django_sagaz._execution.decisions import (
        acancel,
        alist_runs,
        aresolve,
        aretry,
        arun_now,
        asignal_run,
        astatus,
        cancel,
        list_runs,
        resolve,
        retry,
        run_now,
        signal_run,
        status,
    )
    from django_sagaz.events import publish
    from django_sagaz.health import areadiness, liveness, readiness
    from django_sagaz.idempotency import idempotent
    from django_sagaz.inline import async_saga_factory, async_wait, close, create_saga, run_saga, wait
    from django_sagaz.saga import Saga
    from django_sagaz.signalling import (
        adecide_approval,
        approval_token,
        asend_signal,
        decide_approval,
        read_approval,
        send_signal,
    )
    from django_sagaz.transactions import atomic_saga_start, atomic_saga_start_many, run_deferred, saga_context
    from django_sagaz.urls.patterns import SagazUrls, health_urls, sagaz_urls
    from django_sagaz.webhooks import webhook_urls
    from sagaz_durable import action, compensate
    from sagaz_durable.alembic import exclude_sagaz_tables
    from sagaz_durable.effects import effect
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.http.access import Subject, Verb
    from sagaz_durable.operations.approvals import Approval
    from sagaz_durable.operations.health import ProbeResult
    from sagaz_durable.runtime.new_run import saga_id_of
    from sagaz_durable.serialization.json_body import read_json
    from sagaz_durable.webhooks.resuming import resumes
    from sagaz_integration_core.context.current_step import CurrentStep, current_step

__all__ = [
    "Approval",
    "AtomicBlockError",
    "CurrentStep",
    "ProbeResult",
    "Saga",
    "SagaRun",
    "SagazUrls",
    "Subject",
    "Verb",
    "acancel",
    "action",
    "adecide_approval",
    "alist_runs",
    "approval_token",
    "areadiness",
    "aresolve",
    "aretry",
    "arun_now",
    "asend_signal",
    "asignal_run",
    "astatus",
    "async_saga_factory",
    "async_wait",
    "atomic_saga_start",
    "atomic_saga_start_many",
    "cancel",
    "close",
    "compensate",
    "create_saga",
    "current_step",
    "decide_approval",
    "effect",
    "exclude_sagaz_tables",
    "health_urls",
    "idempotent",
    "list_runs",
    "liveness",
    "publish",
    "read_approval",
    "read_json",
    "readiness",
    "resolve",
    "resumes",
    "retry",
    "run_deferred",
    "run_now",
    "run_saga",
    "saga_context",
    "saga_id_of",
    "sagaz_urls",
    "send_signal",
    "signal_run",
    "status",
    "wait",
    "webhook_urls",
]
__all__ += _errors.__all__

# Whoever imports sagaz, before or after: the root logger stays as the project configured it.
sagaz_durable.guard_import()

# Django imports this package before its applications are ready, and a project that only lists it need not load sagaz.
_PLACES = {
    "Approval": "sagaz_durable.operations.approvals",
    "CurrentStep": "sagaz_integration_core.context.current_step",
    "ProbeResult": "sagaz_durable.operations.health",
    "Saga": "django_sagaz.saga",
    "SagaRun": "sagaz_durable.engine.result",
    "SagazUrls": "django_sagaz.urls.patterns",
    "Subject": "sagaz_durable.http.access",
    "Verb": "sagaz_durable.http.access",
    "acancel": "django_sagaz._execution.decisions",
    "action": "sagaz_durable",
    "alist_runs": "django_sagaz._execution.decisions",
    "approval_token": "django_sagaz.signalling",
    "areadiness": "django_sagaz.health",
    "aresolve": "django_sagaz._execution.decisions",
    "aretry": "django_sagaz._execution.decisions",
    "arun_now": "django_sagaz._execution.decisions",
    "asignal_run": "django_sagaz._execution.decisions",
    "astatus": "django_sagaz._execution.decisions",
    "async_saga_factory": "django_sagaz.inline",
    "async_wait": "django_sagaz.inline",
    "atomic_saga_start": "django_sagaz.transactions",
    "atomic_saga_start_many": "django_sagaz.transactions",
    "cancel": "django_sagaz._execution.decisions",
    "close": "django_sagaz.inline",
    "compensate": "sagaz_durable",
    "create_saga": "django_sagaz.inline",
    "current_step": "sagaz_integration_core.context.current_step",
    "adecide_approval": "django_sagaz.signalling",
    "asend_signal": "django_sagaz.signalling",
    "decide_approval": "django_sagaz.signalling",
    "effect": "sagaz_durable.effects",
    "exclude_sagaz_tables": "sagaz_durable.alembic",
    "health_urls": "django_sagaz.urls.patterns",
    "idempotent": "django_sagaz.idempotency",
    "list_runs": "django_sagaz._execution.decisions",
    "liveness": "django_sagaz.health",
    "publish": "django_sagaz.events",
    "read_approval": "django_sagaz.signalling",
    "read_json": "sagaz_durable.serialization.json_body",
    "readiness": "django_sagaz.health",
    "resolve": "django_sagaz._execution.decisions",
    "resumes": "sagaz_durable.webhooks.resuming",
    "retry": "django_sagaz._execution.decisions",
    "run_deferred": "django_sagaz.transactions",
    "run_now": "django_sagaz._execution.decisions",
    "run_saga": "django_sagaz.inline",
    "saga_context": "django_sagaz.transactions",
    "saga_id_of": "sagaz_durable.runtime.new_run",
    "sagaz_urls": "django_sagaz.urls.patterns",
    "send_signal": "django_sagaz.signalling",
    "signal_run": "django_sagaz._execution.decisions",
    "status": "django_sagaz._execution.decisions",
    "wait": "django_sagaz.inline",
    "webhook_urls": "django_sagaz.webhooks",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value

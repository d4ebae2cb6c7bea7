"""Sagas in Flask applications that cannot be lost, cannot run twice at once and resume where their process died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sagaz_integration_core
from flask_sagaz._current import current_sagaz
from flask_sagaz.extension import SagazExtension
from sagaz_integration_core.errors import (
    ContextValueError,
    IdempotencyConflict,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunNotFound,
    RuntimeNotOpen,
    SagaDefinitionError,
    SagaNotRegistered,
    SagazError,
    SettingsError,
    StepError,
    StoreNotMigrated,
    StoreUnavailable,
    TransactionRequired,
    WriteLockHeld,
    WrongDatabase,
)
from sagaz_integration_core.settings import Settings
from sagaz_integration_core.steps import CurrentStep, current_step

if TYPE_CHECKING:
    from sagaz_integration_core import Saga, action, compensate
    from sagaz_integration_core.runs import SagaRun

__all__ = [
    "ContextValueError",
    "CurrentStep",
    "IdempotencyConflict",
    "RunFailed",
    "RunInProgress",
    "RunInterrupted",
    "RunNotFound",
    "RuntimeNotOpen",
    "Saga",
    "SagaDefinitionError",
    "SagaNotRegistered",
    "SagaRun",
    "SagazError",
    "SagazExtension",
    "Settings",
    "SettingsError",
    "StepError",
    "StoreNotMigrated",
    "StoreUnavailable",
    "TransactionRequired",
    "WriteLockHeld",
    "WrongDatabase",
    "action",
    "compensate",
    "current_sagaz",
    "current_step",
]

# Whoever imports sagaz, before or after: the root logger stays as the application configured it.
sagaz_integration_core.guard_import()


def __getattr__(name: str) -> Any:
    if name in ("Saga", "action", "compensate"):
        return getattr(sagaz_integration_core, name)
    if name == "SagaRun":
        from sagaz_integration_core.runs import SagaRun

        return SagaRun
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

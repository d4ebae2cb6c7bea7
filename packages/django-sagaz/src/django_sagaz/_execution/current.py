"""What executes runs in this process, by the settings as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.apps import apps

if TYPE_CHECKING:
    from django_sagaz._execution.executions import Executions

__all__ = ["close_executions", "current_executions"]


def current_executions() -> Executions:
    """Return what executes runs in this process; the first call makes it."""
    config: Any = apps.get_app_config("django_sagaz")
    return cast("Executions", config.executions)


def close_executions() -> None:
    """Drain and close what executes runs in this process; the next use opens it anew."""
    config: Any = apps.get_app_config("django_sagaz")
    config.close()

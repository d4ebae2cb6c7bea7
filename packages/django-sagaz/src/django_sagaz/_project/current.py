"""The project as its settings say now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.apps import apps

if TYPE_CHECKING:
    from django_sagaz._project.project import Project
    from sagaz_durable.engine.registry import SagaRegistry

__all__ = ["current_project", "current_registry"]


def current_project() -> Project:
    """Return what the project's settings say now.

    Raises:
        SettingsError: Something in ``settings.SAGAZ`` is wrong; it lists everything that is.
    """
    config: Any = apps.get_app_config("django_sagaz")
    return cast("Project", config.project)


def current_registry() -> SagaRegistry:
    """Return the sagas of all installed applications, whatever the settings say."""
    config: Any = apps.get_app_config("django_sagaz")
    return cast("SagaRegistry", config.registry)

"""The application as Django loads it, and what it keeps for as long as the process lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from sagaz_integration_core.context import log_fields as logs

if TYPE_CHECKING:
    from django_sagaz._execution.executions import Executions
    from django_sagaz._project.project import Project
    from sagaz_durable.engine.registry import SagaRegistry

__all__ = ["DjangoSagazConfig"]


class DjangoSagazConfig(AppConfig):
    """Finds the sagas of the installed applications when they are first needed; opens nothing."""

    name = "django_sagaz"
    label = "django_sagaz"
    verbose_name = "Sagas"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Prepare, without a query, a thread or a connection."""
        from django_sagaz import checks

        self._lock = threading.RLock()
        self._registry: SagaRegistry | None = None
        self._project: Project | None = None
        self._executions: Executions | None = None
        checks.register_all()
        logs.install()
        setting_changed.connect(self._on_setting_changed)

    @property
    def registry(self) -> SagaRegistry:
        """The sagas of the ``sagas`` modules of all installed applications, which are imported the first time."""
        with self._lock:
            if self._registry is None:
                from django_sagaz._project.discovery import discover

                self._registry = discover()
            return self._registry

    @property
    def project(self) -> Project:
        """What the settings say."""
        if self._project is None:
            with self._lock:
                if self._project is None:
                    from django_sagaz._project.project import Project
                    from django_sagaz._project.settings import given_settings, read_settings

                    self._project = Project(*read_settings(given_settings()), self.registry)
        return self._project

    @property
    def executions(self) -> Executions:
        """What executes runs in this process, by these settings."""
        if self._executions is None:
            with self._lock:
                if self._executions is None:
                    from django_sagaz._execution.executions import Executions

                    self._executions = Executions(self.project)
        return self._executions

    def _on_setting_changed(self, *, setting: str, **_: Any) -> None:
        if setting not in ("SAGAZ", "DATABASES"):
            return
        with self._lock:
            self._project = None
        self.close()

    def close(self) -> None:
        """Drain and close what executes runs in this process; the next use opens it anew."""
        with self._lock:
            executions, self._executions = self._executions, None
        if executions is not None:
            executions.close()

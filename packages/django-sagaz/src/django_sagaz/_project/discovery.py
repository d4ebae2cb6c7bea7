"""Finding the sagas that the ``sagas`` modules of the installed applications define."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from django_sagaz._project.wording import WORDING
from sagaz_durable.engine.registry import SagaRegistry

__all__ = ["discover"]


def discover() -> SagaRegistry:
    """Return a registry of every saga that a ``sagas`` module defines; what it merely imports belongs to another."""
    registry = SagaRegistry(wording=WORDING)
    autodiscover_modules("sagas")
    for module in _modules():
        for value in list(vars(module).values()):
            if getattr(value, "__module__", None) == module.__name__ and _has_steps(value):
                registry.add(value)
    return registry


def _modules() -> Iterator[ModuleType]:
    for config in apps.get_app_configs():
        module = sys.modules.get(f"{config.name}.sagas")
        if module is not None:
            yield module


def _has_steps(value: object) -> bool:
    # Only here is sagaz needed; a project without sagas does not load it.
    from sagaz_durable.definitions import has_steps

    return isinstance(value, type) and has_steps(value)

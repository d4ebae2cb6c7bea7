"""What the project chooses for its routes about sagas: in ``SAGAZ["HTTP"]``, or where they are included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.utils.module_loading import import_string

from django_sagaz._project.settings import given_settings
from sagaz_durable.http.rules import ApiRules
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = ["chosen_rules", "rules_of"]

_NAMES = tuple(field.name for field in fields(ApiRules) if field.name != "checks_origin")
_HOOKS = ("authorize", "actor")


def chosen_rules(given: Mapping[str, Any]) -> ApiRules:
    """Return the project's rules.

    Args:
        given: What is given where the routes are included, instead of the setting's; None stands for the setting's.

    Raises:
        SettingsError: One of them cannot be what is meant.
    """
    return rules_of({**_setting(), **{name: value for name, value in given.items() if value is not None}})


def rules_of(chosen: Mapping[str, Any]) -> ApiRules:
    """Return rules, of which functions may be given by their dotted paths.

    Raises:
        SettingsError: One of them cannot be what is meant.
    """
    rules = dict(chosen)
    for name in _HOOKS:
        if isinstance(path := rules.get(name), str):
            rules[name] = _imported(name, path)
    return ApiRules(**rules)


def _setting() -> dict[str, Any]:
    whole = given_settings()
    given = whole.get("HTTP", {}) if isinstance(whole, Mapping) else {}
    if not isinstance(given, Mapping):
        raise SettingsError(f'SAGAZ["HTTP"]={value_text(given, 60)}: expected a dict, as {{"AUTHORIZE": "shop.may"}}.')
    known = {name.upper(): name for name in _NAMES}
    if unknown := [key for key in given if key not in known]:
        told = ", ".join(value_text(key, 60) for key in unknown)
        raise SettingsError(f'SAGAZ["HTTP"] has {told}; expected {", ".join(known)}.')
    return {known[key]: value for key, value in given.items()}


def _imported(name: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        raise SettingsError(f"{name}={value_text(path, 120)}: {error}. Expected a function's dotted path.") from error

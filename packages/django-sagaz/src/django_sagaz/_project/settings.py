"""What ``settings.SAGAZ`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections

from django_sagaz._project.wording import WORDING
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import SettingsError

__all__ = ["checked_alias", "given_settings", "read_settings"]


def given_settings() -> Any:
    """Return ``settings.SAGAZ``, or an empty dict."""
    return getattr(django_settings, "SAGAZ", {})


def read_settings(given: Any) -> tuple[Settings, str | None]:
    """Read ``settings.SAGAZ``.

    Raises:
        SettingsError: It lists everything that is wrong.
    """
    if not isinstance(given, Mapping):
        return Settings.from_mapping(given, wording=WORDING), None
    values = dict(given)
    # An empty address, as os.environ.get gives it, means none.
    if not values.get("STORAGE_URL"):
        values.pop("STORAGE_URL", None)
    alias = values.pop("DATABASE", None)
    # What the routes about sagas are given: see `django_sagaz._project.http_rules`.
    values.pop("HTTP", None)
    settings = Settings.from_mapping(values, wording=WORDING)
    if "STORAGE_URL" not in values:
        return settings, checked_alias(DEFAULT_DB_ALIAS if alias is None else alias)
    if alias is not None:
        raise SettingsError('SAGAZ["DATABASE"] and SAGAZ["STORAGE_URL"] each say where runs are kept; keep one of them')
    return settings, None


def checked_alias(alias: object) -> str:
    """Return a database alias that there is.

    Raises:
        SettingsError: There is none of this name.
    """
    if alias not in connections.settings:
        known = ", ".join(map(repr, connections.settings))
        raise SettingsError(f'SAGAZ["DATABASE"]={alias!r}: no such database in DATABASES; there are {known}')
    return str(alias)

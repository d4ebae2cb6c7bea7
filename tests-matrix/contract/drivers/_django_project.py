"""One Django project for all sites of this process: settings that change, a database alias for each store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from django_sagaz.middleware import SagaContextMiddleware
from sagaz_integration_core.registry import SagaRegistry

__all__ = ["Reticent", "project"]

if not settings.configured:
    settings.configure(
        SECRET_KEY="contract",
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=["django_sagaz"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )
    django.setup()


class Reticent(SagaContextMiddleware):
    """Keeps the correlation id out of the sagas' contexts."""

    propagate_to_context = False


@contextmanager
def project(options: Mapping[str, Any], sagas: Any, urlpatterns: list[Any], *, propagate: bool) -> Iterator[str]:
    """Be a project with these settings, sagas and addresses; yields the alias of its database."""
    values = dict(options)
    alias = f"contract_{abs(hash(values['STORAGE_URL']))}"
    database = _database(values.pop("STORAGE_URL"))
    for other in ("MIGRATE", "POOL_SIZE"):
        values.pop(other, None)
    connections.settings[alias] = {**connections.settings["default"], **database}
    config: Any = apps.get_app_config("django_sagaz")
    middleware = "contract.drivers._django_project.Reticent"
    if propagate:
        middleware = "django_sagaz.middleware.SagaContextMiddleware"
    urls = ModuleType("urls")
    urls.urlpatterns = urlpatterns  # type: ignore[attr-defined]
    changed = override_settings(SAGAZ={**values, "DATABASE": alias}, ROOT_URLCONF=urls, MIDDLEWARE=[middleware])
    with changed:
        # As if a sagas module had them.
        config._registry = None
        config._registry = _registered(sagas)
        try:
            call_command("check")
            call_command("migrate", database=alias, verbosity=0)
            _make_orders(alias)
            yield alias
        finally:
            config._registry = None
            connections[alias].close()


def _registered(sagas: Any) -> SagaRegistry:
    return SagaRegistry(sagas, hint="a sagas.py module of an installed app")


def _make_orders(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS shop_order (id varchar(50) PRIMARY KEY)")


def _database(storage_url: str) -> dict[str, Any]:
    url = urlsplit(storage_url)
    if url.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.path[1:], "OPTIONS": {"timeout": 20}}
    host = url.hostname or parse_qs(url.query)["host"][0]
    name = url.path.removeprefix("/")
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": url.username, "HOST": host}

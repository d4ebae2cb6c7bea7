"""What ``manage.py check`` says about sagas; the ids are stable, so that they can be silenced.

A project is set up in every process, and checked in few: what only a check needs is imported there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import connections, router
from django.urls import get_resolver

from django_sagaz._project import dispatch
from sagaz_durable import problem_types as kinds
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.settings.settings import Settings

__all__ = ["KINDS", "register_all"]

_MIDDLEWARE = "django_sagaz.middleware.SagaContextMiddleware"

KINDS: Mapping[str, kinds.Kind] = {
    "sagaz.E001": kinds.SETTINGS_WRONG,
    "sagaz.E002": kinds.DRIVER_MISSING,
    "sagaz.E003": kinds.SAGA_WRONG,
    "sagaz.E004": kinds.TABLES_ROUTED_AWAY,
    "sagaz.E005": kinds.CELERY_MISSING,
    "sagaz.E006": kinds.WEBHOOKS_UNSERVED,
    "sagaz.W001": kinds.NO_SAGAS,
    "sagaz.W002": kinds.MIDDLEWARE_LATE,
    "sagaz.W003": kinds.RUNS_IN_MEMORY,
    "sagaz.W004": kinds.DEBUG_ON,
    "sagaz.W005": kinds.LEASE_SHORT,
    "sagaz.W006": kinds.SETTING_WITHOUT_USE,
    "sagaz.W007": kinds.POOL_SMALL,
    "sagaz.W008": kinds.NO_AUTOCOMMIT,
}
"""By the id of what a check finds, which problem that is."""


def register_all() -> None:
    """Register the checks; called when the applications are ready."""
    register(check_settings, "sagaz")
    register(check_sagas, "sagaz")
    register(check_middleware, "sagaz")
    register(check_database, Tags.database)
    register(check_connections, "sagaz")
    register(check_deployment, "sagaz", deploy=True)


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: a setting is wrong. E002: no psycopg 3. E005: no Celery application. W006: a setting has no use."""
    from django_sagaz._project.settings import given_settings, read_settings

    try:
        values, alias = read_settings(given := given_settings())
        if "HTTP" in given:
            _check_rules()
    except SagazError as error:
        return [_error(f"SAGAZ: {error}", None, "sagaz.E001")]
    found = _check_unbuilt(values)
    found += _check_celery() if values.dispatch == "celery" else []
    return found if alias is None else [*found, *_check_psycopg(connections[alias])]


def _check_rules() -> None:
    # A worker of a project without them need not load what routes are made of.
    from django_sagaz._project.http_rules import chosen_rules

    chosen_rules({})


def _error(message: str, hint: str | None, check_id: str) -> CheckMessage:
    return checks.Error(message, hint=_with_reference(hint, check_id), id=check_id)


def _warning(message: str, hint: str, check_id: str) -> CheckMessage:
    return checks.Warning(message, hint=_with_reference(hint, check_id), id=check_id)


def _with_reference(hint: str | None, check_id: str) -> str:
    [reference] = kinds.references([KINDS[check_id]])
    return reference if hint is None else f"{hint}\n\t\t{reference}"


def _check_unbuilt(values: Settings) -> list[CheckMessage]:
    from sagaz_durable.runtime.start_warnings import unbuilt

    if not (found := unbuilt(values)):
        return []
    names = " and ".join(values.wording.setting(name) for name in found)
    message = f"{names}: accepted, and without use yet: {'; '.join(found.values())}."
    return [_warning(message, "Leave it out.", "sagaz.W006")]


def _check_celery() -> list[CheckMessage]:
    if dispatch.is_registered():
        return []
    from django_sagaz._project.wording import WORDING

    hint = f"{WORDING.celery}. ({WORDING.install('celery')})"
    message = f"{WORDING.setting('dispatch')} is 'celery', and no Celery application is registered."
    return [_error(message, hint, "sagaz.E005")]


def _check_psycopg(connection: Any) -> list[CheckMessage]:
    if connection.vendor != "postgresql" or connection.Database.__name__ == "psycopg":
        return []
    from django_sagaz._project.wording import WORDING

    hint = WORDING.install("postgres")
    return [_error("Sagas in PostgreSQL need psycopg 3, and only psycopg2 is installed.", hint, "sagaz.E002")]


def check_sagas(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E003: a saga cannot be run as it is written. E006: nobody takes the webhooks that resume it. W001: none."""
    from django_sagaz._project.current import current_project

    try:
        registry = current_project().registry
    except SagazError as error:
        wrong_settings = bool(check_settings(None))
        return [] if wrong_settings else [_error(str(error), None, "sagaz.E003")]
    if len(registry):
        return _check_webhooks(registry)
    hint = "Define them in the sagas.py module of an installed app; a worker runs only what it finds there."
    return [_warning("No saga was found.", hint, "sagaz.W001")]


def _check_webhooks(registry: SagaRegistry) -> list[CheckMessage]:
    from sagaz_durable.intake.served import check_served, wants_events

    # Whoever has no such saga need not have his addresses loaded for it, and a project of workers may have none.
    if not wants_events(registry):
        return []
    patterns = get_resolver().url_patterns if getattr(settings, "ROOT_URLCONF", None) else ()
    try:
        check_served(registry, set(_sources_in(patterns)))
    except SagazError as error:
        return [_error(str(error), None, "sagaz.E006")]
    return []


def _sources_in(patterns: Any) -> Iterator[str]:
    for pattern in patterns:
        yield from getattr(getattr(pattern, "callback", None), "webhook_sources", ())
        yield from _sources_in(getattr(pattern, "url_patterns", ()))


def check_middleware(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W002: the correlation id is bound only after something that may want it."""
    given = list(settings.MIDDLEWARE)
    if _MIDDLEWARE not in given:
        return []
    before = [name for name in given[: given.index(_MIDDLEWARE)] if not name.startswith("django.")]
    if not before:
        return []
    hint = f"Move {_MIDDLEWARE} to the top of MIDDLEWARE, so that their log records have the correlation id too."
    return [_warning(f"{before[0]} comes before SagaContextMiddleware.", hint, "sagaz.W002")]


def check_database(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E004: a router keeps the tables out of the database that is to have them."""
    from django_sagaz._project.current import current_project

    try:
        alias = current_project().alias
    except SagazError:
        return []
    if alias is None or alias not in (databases or ()):
        return []
    if router.allow_migrate(alias, "django_sagaz", model_name="run"):
        return []
    hint = "Have the router's allow_migrate return True for app label 'django_sagaz' there, or set SAGAZ[\"DATABASE\"]."
    message = f"Sagas are kept in database {alias!r}, and a database router does not let their tables be made there."
    return [_error(message, hint, "sagaz.E004")]


def check_connections(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W007: a pool is too small for the threads. W008: connections do not commit by themselves."""
    from django_sagaz._execution.pool_sizes import pool_text, too_small_pools
    from django_sagaz._project.current import current_project

    try:
        project = current_project()
    except SagazError:
        return []
    found: list[CheckMessage] = []
    if pools := too_small_pools(project.settings.step_threads, project.alias):
        hint = "A worker calls steps in fewer threads until then."
        found.append(_warning(pool_text(pools), hint, "sagaz.W007"))
    if project.alias is not None and not connections.settings[project.alias]["AUTOCOMMIT"]:
        message = (
            f"DATABASES[{project.alias!r}] has AUTOCOMMIT=False: run_saga is refused, because a transaction is always "
            "open, and what a step does not commit is rolled back when it ends."
        )
        hint = "Leave AUTOCOMMIT out, and use transaction.atomic()."
        found.append(_warning(message, hint, "sagaz.W008"))
    return found


def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W003: memory. W004: debugging. W005: leases as short as in a demonstration."""
    from django_sagaz._project.settings import given_settings, read_settings

    try:
        values, alias = read_settings(given_settings())
    except SagazError:
        return []
    found: list[CheckMessage] = []
    if alias is None and values.storage_url.startswith("memory:"):
        hint = 'Leave out SAGAZ["STORAGE_URL"] to keep them in the project\'s own database.'
        found.append(_warning("Sagas are kept in memory, and lost with the process.", hint, "sagaz.W003"))
    if alias is not None and settings.DEBUG:
        hint = "Set DEBUG = False."
        found.append(_warning("With DEBUG, Django keeps the worker's queries in memory.", hint, "sagaz.W004"))
    if values.lease_seconds < 5:
        hint = 'Leave out SAGAZ["LEASE_SECONDS"]: a pause of the process, or of the network, must not end a lease.'
        found.append(_warning(f"A lease is {values.lease_seconds:g} s short.", hint, "sagaz.W005"))
    return found

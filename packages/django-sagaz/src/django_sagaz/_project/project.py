"""What this Django project says about its sagas: the settings, the database, and the sagas of its applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connections

from django_sagaz._execution.lease_renewal import new_keeper
from django_sagaz._stores.connections import in_test_case
from django_sagaz._stores.factory import DjangoStore, open_store
from django_sagaz._stores.lacks import Lacks
from django_sagaz._stores.runners import Directly
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.errors import SettingsError, WrongDatabase
from sagaz_integration_core.redaction import redact
from sagaz_integration_core.settings.settings import Settings

if TYPE_CHECKING:
    from django_sagaz._stores.runners import Runner
    from django_sagaz.apps import DjangoSagazConfig
    from sagaz_durable.leases.keeper import LeaseKeeper
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["HINT", "Project", "current_project", "given_settings", "read_settings"]

HINT = "a sagas.py module of an installed app"

_former: list[LeaseKeeper] = []
"""Keepers that a fork has got of its parent; a connection that is collected is closed, for the parent too."""


class Project:
    """One reading of ``settings.SAGAZ``; another one takes its place when that changes (``override_settings``).

    Attributes:
        settings: The core's settings.
        alias: The database alias that the runs are kept in; None when ``STORAGE_URL`` names a place outside of Django.
        registry: The sagas that can be started and resumed here.
        lacks: Whether the database has all that a start needs.
    """

    def __init__(self, settings: Settings, alias: str | None, registry: SagaRegistry) -> None:
        self.settings = settings
        self.alias = alias
        self.registry = registry
        self.lacks = Lacks(alias)
        self._keeper: LeaseKeeper | None = None

    @property
    def place(self) -> str:
        """Where the runs are kept, in words, without a password."""
        if self.alias is None:
            return redact(self.settings.storage_url)
        return f"database {self.alias!r} ({connections[self.alias].vendor})"

    @property
    def is_private(self) -> bool:
        """Whether only this thread sees what is in the database: in a ``TestCase``, mostly."""
        return self.alias is not None and in_test_case(connections[self.alias])

    def changed(self, *, alias: str | None = None, **changes: Any) -> Project:
        """Return this project with other settings.

        Raises:
            SettingsError: One of them is wrong.
        """
        if alias is None:
            return Project(replace(self.settings, **changes), self.alias, self.registry)
        if self.alias is None:
            raise SettingsError("a database was named, and SAGAZ['STORAGE_URL'] keeps runs outside of Django's")
        return Project(replace(self.settings, **changes), _checked_alias(alias), self.registry)

    @cached_property
    def starter(self) -> SagazRuntime:
        """A runtime that is never opened: what is checked before a start needs settings and registry only."""
        return self.runtime(Directly())

    @cached_property
    def store(self) -> DjangoStore:
        """The store, used on this very thread and its connection, without an event loop; see `immediately`.

        Raises:
            WrongDatabase: The runs are kept outside of Django's databases.
        """
        if self.alias is None:
            raise WrongDatabase(
                f"Runs are kept in {self.place}, which takes no part in the transactions of "
                "Django's databases. Leave out SAGAZ['STORAGE_URL'], and run manage.py migrate."
            )
        return open_store(self.alias, Directly(), notify=self.settings.notify)

    def keeper(self) -> LeaseKeeper:
        """Return what keeps the leases of all runtimes of this process; a fork gets its own."""
        if self.alias is None:
            raise WrongDatabase("Outside of Django's databases each runtime keeps its own leases.")
        while (found := self._keeper) is None or not found.acquire():
            if found is not None and found.is_inherited:
                _former.append(found)
            self._keeper = new_keeper(self.alias, self.settings, self.registry)
        return found

    def runtime(
        self,
        run: Runner,
        *,
        settings: Settings | None = None,
        listen: bool = False,
        step_pool: Callable[[Settings], Executor] | None = None,
        step_scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> SagazRuntime:
        """Return a runtime, not opened yet, whose store makes its database calls through ``run``."""
        from sagaz_durable import configured_globally

        def store(settings: Settings) -> SagaStore:
            if self.alias is None:
                return create_store(settings)
            return open_store(self.alias, run, notify=settings.notify, listen=listen)

        runtime = SagazRuntime(
            settings or self.settings,
            config=configured_globally(),
            app=apps,
            hint=HINT,
            open_store=store,
            step_pool=step_pool,
            step_scope=step_scope,
            keeper=None if self.alias is None else self.keeper,
            dispatch=_dispatch,
        )
        runtime.registry = self.registry
        return runtime


def current_project() -> Project:
    """Return what the project's settings say now.

    Raises:
        SettingsError: Something in ``settings.SAGAZ`` is wrong; it lists everything that is.
    """
    config = cast("DjangoSagazConfig", apps.get_app_config("django_sagaz"))
    return config.project


def read_settings(given: Any) -> tuple[Settings, str | None]:
    """Read ``settings.SAGAZ``.

    Raises:
        SettingsError: It lists everything that is wrong.
    """
    if not isinstance(given, Mapping):
        return Settings.from_mapping(given), None
    values = dict(given)
    # An empty address, as os.environ.get gives it, means none.
    if not values.get("STORAGE_URL"):
        values.pop("STORAGE_URL", None)
    alias = values.pop("DATABASE", None)
    settings = Settings.from_mapping(values)
    if "STORAGE_URL" not in values:
        return settings, _checked_alias(DEFAULT_DB_ALIAS if alias is None else alias)
    if alias is not None:
        raise SettingsError("SAGAZ['DATABASE'] and SAGAZ['STORAGE_URL'] each say where runs are kept; keep one of them")
    return settings, None


def _checked_alias(alias: object) -> str:
    if alias not in connections.settings:
        known = ", ".join(map(repr, connections.settings))
        raise SettingsError(f"SAGAZ['DATABASE']={alias!r}: no such database in DATABASES; there are {known}")
    return str(alias)


def _dispatch(saga_ids: Sequence[str]) -> None:
    from django_sagaz.celery import send

    send(saga_ids)


def given_settings() -> Any:
    """Return ``settings.SAGAZ``, or an empty dict."""
    return getattr(django_settings, "SAGAZ", {})

"""What this Django project says about its sagas: the settings, the database, and the sagas of its applications."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from django_sagaz._project import dispatch
from django_sagaz._project.lease_renewal import new_keeper
from django_sagaz._project.settings import checked_alias
from django_sagaz._stores.connections import in_test_case
from django_sagaz._stores.factory import DjangoStore, open_store
from django_sagaz._stores.lacks import Lacks
from django_sagaz._stores.runners import Directly
from django_sagaz._stores.step_transactions import DjangoStepTransactions
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.redaction import redact
from sagaz_durable.runtime.configuration import Configuration
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.errors import SettingsError, WrongDatabase

if TYPE_CHECKING:
    from django_sagaz._stores.runners import Runner
    from sagaz_durable.leases.keeper import LeaseKeeper
    from sagaz_integration_core.contract.store import SagaStore

__all__ = ["Project"]

_former: list[LeaseKeeper] = []
"""Keepers that a fork has got of its parent; a connection that is collected is closed, for the parent too."""


class Project:
    """One reading of ``settings.SAGAZ``; another one takes its place when that changes (``override_settings``).

    Attributes:
        settings: The engine's settings.
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
            raise SettingsError('a database was named, and SAGAZ["STORAGE_URL"] keeps runs outside of Django\'s')
        return Project(replace(self.settings, **changes), checked_alias(alias), self.registry)

    @cached_property
    def configuration(self) -> Configuration:
        """What starts and publications are checked against, without anything being opened."""
        from sagaz_durable import configured_globally

        return Configuration(
            self.settings, config=configured_globally(), sagas=self.registry, dispatch=dispatch.send,
            transactions=self._transactions,
        )  # fmt: skip

    @property
    def _transactions(self) -> DjangoStepTransactions:
        return DjangoStepTransactions(self.alias, lambda: self.store)

    @cached_property
    def store(self) -> DjangoStore:
        """The store, used on this very thread and its connection, without an event loop; see `immediately`.

        Raises:
            WrongDatabase: The runs are kept outside of Django's databases.
        """
        if self.alias is None:
            raise WrongDatabase(
                f"Runs are kept in {self.place}, which takes no part in the transactions of "
                'Django\'s databases. Leave out SAGAZ["STORAGE_URL"], and run python manage.py migrate.'
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

        return SagazRuntime(
            settings or self.settings,
            config=configured_globally(),
            sagas=self.registry,
            app=apps,
            open_store=store,
            step_pool=step_pool,
            step_scope=step_scope,
            keeper=None if self.alias is None else self.keeper,
            dispatch=dispatch.send,
            transactions=self._transactions,
        )

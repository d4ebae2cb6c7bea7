"""sagaz's own configuration, storages and brokers: built, opened once and closed, each in its own way."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagaz_durable._upstream.imports import load_sagaz
from sagaz_durable._upstream.mirror import Mirror
from sagaz_durable._upstream.outbox_storage import StoreOutboxStorage
from sagaz_durable._upstream.saga_storage import StoreSagaStorage
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable._upstream.broker_connection import BrokerLine

__all__ = ["SagazResources", "configured_globally", "settings_for"]


def configured_globally() -> Any:
    """Return what the application gave to ``sagaz.configure``, or None when it never did."""
    load_sagaz()
    from sagaz.core import config

    return config._global_config


def settings_for(settings: Settings, config: Any) -> Settings:
    """Return the settings with the store that a ``SagaConfig``'s storage implies, unless a storage URL was given.

    Raises:
        SettingsError: The storage keeps no journal, and nothing says where runs are to be kept.
    """
    if config is None or "storage_url" in settings.explicit:
        return settings
    manager = config.storage_manager
    url = _implied_url(config.storage, settings.wording) if manager is None else _manager_url(manager, settings.wording)
    return settings if url is None else replace(settings, storage_url=url)


def _implied_url(storage: Any, wording: Wording) -> str | None:
    # By name: sagaz's storages import their drivers, which need not be installed.
    kinds = {base.__name__ for base in type(storage).__mro__}
    if "InMemorySagaStorage" in kinds:
        return None
    if "PostgreSQLSagaStorage" in kinds:
        return str(storage.connection_string)
    if "SQLiteSagaStorage" in kinds and storage.db_path != ":memory:":
        return f"sqlite:///{storage.db_path}"
    kind = type(storage).__name__
    raise SettingsError(
        f"SagaConfig has a {kind}, which keeps no journal of steps. Say where runs are to be kept with "
        f"{wording.setting('storage_url')} (postgresql://…, sqlite:///…, or memory:// to accept that a restart forgets "
        f"them); the {kind} then gets each run's state as well."
    )


def _manager_url(manager: Any, wording: Wording) -> str | None:
    url = manager._saga_url or "memory://"
    if url == "memory://":
        return None
    if url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        return str(url)
    raise SettingsError(
        "SagaConfig has a StorageManager for another kind of store than PostgreSQL or an SQLite file. "
        f"Say where runs are to be kept with {wording.setting('storage_url')}."
    )


def _made(settings: Settings) -> Any:
    if not settings.broker_url:
        return None
    # Here and below: what brokers need is loaded where there is one.
    from sagaz_durable._upstream.brokers import make_broker

    return make_broker(settings.broker_url, settings.wording)


def _line(broker: Any) -> BrokerLine:
    from sagaz_durable._upstream.broker_connection import BrokerLine

    return BrokerLine(broker)


class SagazResources:
    """What sagaz brings to a runtime.

    Attributes:
        config: The ``SagaConfig`` that ``get_config`` hands out; saves and events of unmodified sagaz code arrive in a
            store.
        listeners: What durable runs notify.
        broker: Where events go, not connected yet; None when none is configured.
        line: The way there, with time limits.
        mirror: Saves the state of runs to the storage of the user's own config as well.
    """

    def __init__(self, settings: Settings, config: Any, store: SagaStore) -> None:
        self._given = config
        self.broker = _made(settings)
        if config is not None and config.broker is not None:
            self.broker = config.broker
        self.line = None if self.broker is None else _line(self.broker)
        most, wording = settings.max_context_bytes, settings.wording
        facade = StoreSagaStorage(store, most, wording)
        outbox = StoreOutboxStorage(store, max_bytes=most, wording=wording)
        if config is None:
            self.config = load_sagaz().SagaConfig(
                storage=facade, metrics=settings.metrics, tracing=settings.tracing, logging=settings.logging,
                broker=self.broker, outbox_storage=outbox,
            )  # fmt: skip
        elif config.storage_manager is None and type(config.storage).__name__ == "InMemorySagaStorage":
            if self.broker is not None:
                config = config.with_broker(self.broker, config.outbox_storage or outbox)
            self.config = config.with_storage(facade)
        else:
            self.config = config
        self.mirror = Mirror(None)

    @property
    def listeners(self) -> list[Any]:
        """The configured listeners, without those whose work the runtime does itself (log lines, outbox)."""
        own = ["OutboxSagaListener"] + (["LoggingSagaListener"] if self.config.logging is True else [])
        return [listener for listener in self.config.listeners if type(listener).__name__ not in own]

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the user's own storages; the stack closes them.

        Raises:
            StoreUnavailable: One of them cannot be opened.
        """
        if self._given is not None and self.config is self._given:
            manager = self._given.storage_manager
            if manager is not None:
                await _open(manager, stack, needed=_unopened(manager))
                self._given.storage = manager.saga
            else:
                await _open(self._given.storage, stack)
            self.mirror = Mirror(self._given.storage)
        if (outbox := self.config._derived_outbox_storage) is not None:
            await _open(outbox, stack)
        if self.line is not None:
            stack.push_async_callback(self.line.close)


def _unopened(manager: Any) -> bool:
    try:
        return manager.saga is None
    except RuntimeError:
        return True


async def _open(resource: Any, stack: AsyncExitStack, *, needed: bool = True) -> None:
    try:
        if not hasattr(resource, "initialize"):
            await stack.enter_async_context(resource)
        else:
            if needed:
                await resource.initialize()
            stack.push_async_callback(resource.close)
    except Exception as error:
        failure = StoreUnavailable(f"sagaz's {type(resource).__name__} cannot be opened: {masked_error(error)}")
    else:
        return
    # Not chained, and outside of the block: a driver's frames hold its address.
    raise failure

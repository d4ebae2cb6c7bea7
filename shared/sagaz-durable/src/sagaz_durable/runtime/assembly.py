"""The parts of a runtime that its settings decide about."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from sagaz_durable.concurrency.thread_pool import StepThreads
from sagaz_durable.leases.blocked_loops import StepLimit
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_durable.stores.thread_store import ThreadStore
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import SettingsError
from sagaz_integration_core.settings.settings import Settings

__all__ = ["check_dispatch", "own_keeper", "step_threads", "with_store_of"]


def with_store_of(config: Any, settings: Settings) -> Settings:
    """Return the settings with the store that a ``SagaConfig`` implies."""
    # It imports sagaz, which takes a third of a second.
    from sagaz_durable._upstream.resources import settings_for

    return settings_for(settings, config)


def step_threads(settings: Settings) -> Executor:
    """Return the threads in which plain steps are called."""
    return StepThreads(settings.step_threads)


def own_keeper(
    settings: Settings, store: SagaStore, open_store: Callable[[Settings], SagaStore], step_limit: StepLimit
) -> LeaseKeeper:
    """Return what keeps the leases of one runtime only, acquired; it has one connection of its own."""
    narrow = replace(settings, pool_size=1, migrate=False, notify=False)
    keeper = LeaseKeeper(
        None if store.embedded else lambda: ThreadStore(lambda: open_store(narrow)),
        lease_seconds=settings.lease_seconds,
        renew_seconds=settings.renew_seconds,
        step_limit=step_limit,
        backoff=settings.backoff,
    )
    keeper.acquire()
    return keeper


def check_dispatch(settings: Settings, store: SagaStore, dispatch: object) -> None:
    """Refuse a dispatch by Celery that nobody could execute.

    Raises:
        SettingsError: Runs are kept in memory, or no Celery application is known.
    """
    if settings.dispatch != "celery":
        return
    setting, register = settings.wording.setting("dispatch"), settings.wording.celery
    if store.embedded:
        raise SettingsError(
            f"{setting} is celery, and runs are kept in memory, where Celery's workers cannot see them. Set "
            f"{settings.wording.setting('storage_url')} (sqlite:///sagaz.db or postgresql://…), or leave {setting} out."
        )
    if dispatch is None:
        raise SettingsError(
            f"{setting} is celery, and no Celery application is known here. "
            + (f"{register}, or leave {setting} out." if register else f"Leave {setting} out.")
        )

"""The parts of a runtime that its settings decide about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.batcher import Batcher, bytes_of
from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.concurrency.pulse import Pulse
from sagaz_durable.concurrency.thread_pool import StepThreads
from sagaz_durable.leases.blocked_loops import StepLimit
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_durable.leases.leases import Leases
from sagaz_durable.leases.loop_watch import LoopWatch
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.thread_store import ThreadStore
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.outbox.relay import Relay

__all__ = ["check_dispatch", "keep_leases", "own_keeper", "run_writer", "step_threads"]


def step_threads(settings: Settings) -> Executor:
    """Return the threads in which plain steps are called."""
    return StepThreads(settings.step_threads, setting=settings.wording.setting("sync_threads"))


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


def keep_leases(stack: AsyncExitStack, keeper: LeaseKeeper, store: SagaStore, pool: Executor, pulse: Pulse) -> Leases:
    """Return the leases of one runtime, which are kept on the running event loop until the stack is left."""
    loop = asyncio.get_running_loop()
    leases = Leases(keeper, store, loop, LoopWatch(loop, getattr(pool, "standing", None)))
    keeper.add(leases)
    stack.push_async_callback(keeper.release, leases)
    keeping = [
        loop.create_task(leases.run(), name="sagaz-leases"),
        loop.create_task(pulse.beat(), name="sagaz-pulse"),
    ]
    stack.push_async_callback(cancel_all, keeping)
    return leases


def run_writer(store: SagaStore, relay: Relay | None) -> Callable[[RunWrite], Awaitable[bool | None]]:
    """Return what records a run's progress, and has the relay look for the events that it tells of."""

    async def write(writes: Sequence[RunWrite]) -> list[bool | None]:
        answers = await store.write(writes)
        if relay is not None and any(write.events for write in writes):
            relay.nudge()
        return answers

    async def write_one(one: RunWrite) -> bool | None:
        [accepted] = await write([one])
        return accepted

    # In memory nothing is gained by collecting writes, and each batch costs turns of the event loop.
    return write_one if store.embedded else Batcher(write, size=bytes_of).submit


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

"""What workers remove, as settings say: what ended runs were given and returned, old signals, answers and webhooks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from sagaz_durable._upstream.triggers import listeners
from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["BATCH", "erase_outdated", "erase_regularly"]

logger = logging.getLogger(__name__)

BATCH = 100
"""How many runs one transaction erases: few enough to hold nobody up."""

_Removal: TypeAlias = Callable[[ExecutionEnvironment], Awaitable[int]]

_SECONDS = 60.0
_SETTINGS_DECISION = "keep_context_seconds"


async def erase_outdated(environment: ExecutionEnvironment) -> None:
    """Remove all that has been kept for as long as the settings say."""
    for what, remove in _REMOVALS.items():
        while await _tried(environment, what, remove) == BATCH:
            pass


async def erase_regularly(environment: ExecutionEnvironment) -> None:
    """Remove what has been kept for as long as the settings say, a little at a time, until it is cancelled."""
    while True:
        removed = [await _tried(environment, what, remove) for what, remove in _REMOVALS.items()]
        await asyncio.sleep(_SECONDS if max(removed) < BATCH else 1.0)


async def _tried(environment: ExecutionEnvironment, what: str, remove: _Removal) -> int:
    try:
        return await remove(environment)
    except StoreUnavailable as error:
        logger.debug("No %s were removed: %s", what, error)
    except Exception:
        # A worker goes on with its runs, and tries this again.
        logger.exception("No %s were removed", what)
    return 0


async def _contexts(environment: ExecutionEnvironment) -> int:
    seconds = environment.settings.keep_context_seconds
    if seconds is None:
        return 0
    actor = visible(f"worker {environment.owner}", 255)
    erasure = Erasure(actor, _SETTINGS_DECISION, ("completed", "rolled_back"), before=_ago(seconds))
    return await environment.store.erase(erasure, BATCH)


async def _signals(environment: ExecutionEnvironment) -> int:
    settings = environment.settings
    taken, untaken = _ago(settings.keep_signals_seconds), _ago(settings.keep_unclaimed_seconds)
    return await environment.store.prune_signals(taken, untaken, BATCH)


async def _answers(environment: ExecutionEnvironment) -> int:
    return await environment.store.prune_keys(BATCH)


async def _webhooks(environment: ExecutionEnvironment) -> int:
    # Where no saga wants events, nobody is asked about them.
    if not any(listeners(registration.saga_class) for registration in environment.registry):
        return 0
    settings = environment.settings
    before, ignored_before = _ago(settings.keep_webhooks_seconds), _ago(settings.keep_ignored_webhooks_seconds)
    return await environment.store.prune_webhooks(before, ignored_before, BATCH)


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


_REMOVALS: dict[str, _Removal] = {
    "contexts": _contexts,
    "signals": _signals,
    "answers to requests": _answers,
    "webhooks": _webhooks,
}
"""What is removed, each in a batch, of which the number is returned."""

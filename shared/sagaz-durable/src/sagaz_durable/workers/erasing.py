"""What workers remove, as settings say: what ended runs were given and returned, old signals, answers and webhooks."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from sagaz_durable._upstream.triggers import listeners
from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["BATCH", "erase_outdated", "erase_regularly"]

logger = logging.getLogger(__name__)

BATCH = 100
"""How many runs one transaction erases: few enough to hold nobody up."""

_SECONDS = 60.0
_SETTINGS_DECISION = "keep_context_seconds"


async def erase_outdated(environment: ExecutionEnvironment) -> None:
    """Remove all that has been kept for as long as the settings say."""
    while await _erase_batch(environment) == BATCH:
        pass
    while await _prune_signals(environment) == BATCH:
        pass
    while await _prune_keys(environment) == BATCH:
        pass
    while await _prune_webhooks(environment) == BATCH:
        pass


async def erase_regularly(environment: ExecutionEnvironment) -> None:
    """Remove what has been kept for as long as the settings say, a little at a time, until it is cancelled."""
    while True:
        erased = await _erase_batch(environment)
        pruned = await _prune_signals(environment)
        forgotten = await _prune_keys(environment)
        delivered = await _prune_webhooks(environment)
        await asyncio.sleep(_SECONDS if max(erased, pruned, forgotten, delivered) < BATCH else 1.0)


async def _prune_signals(environment: ExecutionEnvironment) -> int:
    now, settings = datetime.now(UTC), environment.settings
    taken = now - timedelta(seconds=settings.keep_signals_seconds)
    untaken = now - timedelta(seconds=settings.keep_unclaimed_seconds)
    try:
        return await environment.store.prune_signals(taken, untaken, BATCH)
    except StoreUnavailable as error:
        logger.debug("No signals were removed: %s", error)
    except Exception:
        # A worker goes on with its runs, and tries this again.
        logger.exception("No signals were removed")
    return 0


async def _prune_keys(environment: ExecutionEnvironment) -> int:
    try:
        return await environment.store.prune_keys(BATCH)
    except StoreUnavailable as error:
        logger.debug("No answers to requests were removed: %s", error)
    except Exception:
        # A worker goes on with its runs, and tries this again.
        logger.exception("No answers to requests were removed")
    return 0


async def _prune_webhooks(environment: ExecutionEnvironment) -> int:
    # Where no saga wants events, nobody is asked about them.
    if not any(listeners(registration.saga_class) for registration in environment.registry):
        return 0
    now, settings = datetime.now(UTC), environment.settings
    before = now - timedelta(seconds=settings.keep_webhooks_seconds)
    ignored_before = now - timedelta(seconds=settings.keep_ignored_webhooks_seconds)
    try:
        return await environment.store.prune_webhooks(before, ignored_before, BATCH)
    except StoreUnavailable as error:
        logger.debug("No webhooks were removed: %s", error)
    except Exception:
        # A worker goes on with its runs, and tries this again.
        logger.exception("No webhooks were removed")
    return 0


async def _erase_batch(environment: ExecutionEnvironment) -> int:
    seconds = environment.settings.keep_context_seconds
    if seconds is None:
        return 0
    before = datetime.now(UTC) - timedelta(seconds=seconds)
    actor = visible(f"worker {environment.owner}", 255)
    try:
        return await environment.store.erase(
            Erasure(actor, _SETTINGS_DECISION, ("completed", "rolled_back"), before=before), BATCH
        )
    except StoreUnavailable as error:
        logger.debug("No contexts were erased: %s", error)
    except Exception:
        # A worker goes on with its runs, and tries this again.
        logger.exception("No contexts were erased")
    return 0

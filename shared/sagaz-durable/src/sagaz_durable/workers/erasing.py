"""The erasure of what ended runs were given and have returned, by workers, when a setting says so."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

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
    """Erase all that has been kept for as long as the setting says."""
    while await _erase_batch(environment) == BATCH:
        pass


async def erase_regularly(environment: ExecutionEnvironment) -> None:
    """Erase what has been kept for as long as the setting says, a little at a time, until it is cancelled."""
    while environment.settings.keep_context_seconds is not None:
        erased = await _erase_batch(environment)
        await asyncio.sleep(_SECONDS if erased < BATCH else 1.0)


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

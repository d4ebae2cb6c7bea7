"""Bringing a runtime's work to an end: what runs may end, the rest is given back, and what ended is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from sagaz_integration_core.errors import RunInterrupted

if TYPE_CHECKING:
    from sagaz_durable.engine.running import Runs
    from sagaz_durable.outbox.relay import Relay
    from sagaz_durable.workers.background import BackgroundRuns
    from sagaz_durable.workers.embedded_worker import EmbeddedWorker

__all__ = ["drain"]

_LAST_EVENTS_SECONDS = 5.0
_LAST_CLAIM_SECONDS = 2.0


async def drain(
    runs: Runs, background: BackgroundRuns, worker: EmbeddedWorker, relay: Relay | None, grace: float
) -> None:
    """Let runs end within ``grace`` seconds, release the rest, and publish what they have told."""
    worker.stop()
    await background.stop()
    # A claim that comes after the rest was given back would take it again.
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_CLAIM_SECONDS):
            await worker.settled()
    if grace > 0:
        await runs.wait(grace)
    runs.halt(RunInterrupted("this process is shutting down."))
    await runs.wait()
    await worker.stopped()
    if relay is not None and relay.is_used:
        # Nobody else may be there to tell of what has just ended.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                await relay.publish_all()

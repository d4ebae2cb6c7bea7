"""Runs of webhooks' events that wait for the limit of their trigger: a worker starts them when there is room."""

from __future__ import annotations

import asyncio
import logging

from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_durable.workers.start_limits import limits_of, start_delayed
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["DelayedStarts"]

logger = logging.getLogger(__name__)

_SECONDS = 1.0
"""How long others' ends, and starts that are long enough ago, are not noticed."""

_SELDOM_SECONDS = 60.0
"""How often somebody looks whose triggers have no limit: they may have had one before they were deployed anew."""


class DelayedStarts:
    """Looks for delayed runs, if a saga has a trigger; it asks nothing of the store if none has."""

    def __init__(self, environment: ExecutionEnvironment) -> None:
        self._store = environment.store
        self._limits = limits_of(environment.registry)
        self._sagas = {limit.saga_name for limit in self._limits if limit.is_limited}
        self._seconds = min(_SECONDS, environment.settings.poll_seconds) if self._sagas else _SELDOM_SECONDS
        self._ended = asyncio.Event()

    @property
    def is_needed(self) -> bool:
        """Whether a saga has a trigger."""
        return bool(self._limits)

    def run_ended(self, saga_name: str) -> None:
        """Look soon: perhaps there is room now."""
        if saga_name in self._sagas:
            self._ended.set()

    async def start_regularly(self) -> None:
        """Start what may start, again and again, until it is cancelled."""
        while True:
            self._ended.clear()
            await self.start()
            try:
                await asyncio.wait_for(self._ended.wait(), self._seconds)
            except TimeoutError:
                continue

    async def start(self) -> int:
        """Start what may start now; return how many."""
        if not self._limits:
            return 0
        try:
            return await start_delayed(self._store, self._limits)
        except StoreUnavailable as error:
            logger.debug("No delayed runs were started: %s", error)
        except Exception:
            # A worker goes on with its runs, and tries this again.
            logger.exception("No delayed runs were started")
        return 0

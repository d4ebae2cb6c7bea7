"""When a worker turns to suspects: runs that are to be executed alone, because processes died that had several."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from sagaz_integration_core.clock import now
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz_integration_core.lifecycle import SagazRuntime

__all__ = ["Suspects"]

logger = logging.getLogger(__name__)


class Suspects:
    """Decides for one worker.

    It takes one when it has nothing else. While it always has something, it looks once in a lease whether any waits,
    and then lets what runs come to its end, without claiming more.

    Args:
        drain: Whether the worker ends when nothing is due.
        command: Whether it is a worker command; others leave suspects to those, as long as one lives.
    """

    def __init__(self, runtime: SagazRuntime, *, command: bool, drain: bool) -> None:
        self._runtime = runtime
        self._drain = drain
        self._command = command
        self._looked_at = now()
        self._asked_at = -math.inf
        self._wait = False

    async def want_room(self, busy: bool) -> bool:
        """Whether nothing is to be claimed until what runs has ended."""
        if not busy:
            return False
        if not self._wait and now() - self._looked_at >= self._runtime.settings.lease_seconds:
            self._looked_at = now()
            self._wait = await self._any()
        return self._wait

    async def may_be_claimed(self) -> bool:
        """Whether one is to be claimed now that nothing else runs; at most once in each pause between polls."""
        if not (self._wait or self._drain) and now() - self._asked_at < self._runtime.settings.poll_seconds:
            return False
        self._wait, self._asked_at, self._looked_at = False, now(), now()
        return self._command or await self._any()

    async def _any(self) -> bool:
        store = self._runtime.store
        try:
            if not await store.any_alone(list(self._runtime.registry.first_steps)):
                return False
            return self._command or all(worker.kind != "worker" for worker in await store.workers())
        except StoreUnavailable as error:
            logger.debug("Whether a run is to be executed alone is not known now: %s", error)
        except Exception:
            logger.exception("Whether a run is to be executed alone is not known now")
        return False

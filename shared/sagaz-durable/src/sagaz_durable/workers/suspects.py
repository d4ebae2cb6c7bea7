"""When a worker turns to suspects: runs that are to be executed alone, because processes died that had several."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.clock import now
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable.engine.environment import ExecutionEnvironment

__all__ = ["Suspects"]

logger = logging.getLogger(__name__)


class Suspects:
    """Decides for one worker.

    It takes one when it has nothing else. While it always has something, it looks once in a lease whether any waits,
    and then lets what runs come to its end, without claiming more.

    Args:
        drain: Whether the worker ends when nothing is due.
        command: Whether it is a worker command; others leave suspects to those, as long as one lives that knows them.
    """

    def __init__(self, environment: ExecutionEnvironment, *, command: bool, drain: bool) -> None:
        self._environment = environment
        self._drain = drain
        self._command = command
        self._looked_at = now()
        self._asked_at = -math.inf
        self._wait = False

    async def want_room(self) -> bool:
        """Whether nothing is to be claimed until what runs has ended, and one of them comes first then."""
        if not self._wait and now() - self._looked_at >= self._environment.settings.lease_seconds:
            self._looked_at = now()
            self._wait = bool(await self._waiting())
        return self._wait

    async def claimable(self) -> list[str]:
        """Return of which sagas one may be claimed now that nothing else runs; asks at most once between two polls."""
        if not (self._wait or self._drain) and now() - self._asked_at < self._environment.settings.poll_seconds:
            return []
        self._wait, self._asked_at, self._looked_at = False, now(), now()
        return self._known() if self._command else await self._waiting()

    def _known(self) -> list[str]:
        return list(self._environment.registry.first_steps)

    async def _waiting(self) -> list[str]:
        """Return the sagas of which this worker may take one, if any of them waits."""
        store, names = self._environment.store, self._known()
        try:
            if not await store.any_alone(names):
                return []
            if self._command:
                return names
            commands = [worker for worker in await store.workers() if worker.kind == "worker"]
            mine = [name for name in names if not any(name in worker.sagas for worker in commands)]
            return mine if mine == names or (mine and await store.any_alone(mine)) else []
        except StoreUnavailable as error:
            logger.debug("Whether a run is to be executed alone is not known now: %s", error)
        except Exception:
            logger.exception("Whether a run is to be executed alone is not known now")
        return []

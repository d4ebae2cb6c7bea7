"""Opening a store that lacks something: a server waits for it, and uses it when it lacks nothing any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import StoreNotReady, StoreUnavailable

__all__ = ["Opening"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class Opening:
    """One store's way to being open.

    Args:
        ready: Called when the store has been opened later than it was asked for.
    """

    def __init__(self, store: SagaStore, ready: Callable[[], None]) -> None:
        self._store = store
        self._ready = ready
        self._lack: StoreNotReady | None = None

    async def open(self, *, patient: bool) -> asyncio.Task[None] | None:
        """Open the store; if it lacks something, and the caller is patient, return the task that tries again.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        try:
            await self._store.open()
        except StoreNotReady as error:
            if not patient:
                raise
            self._note(error)
            return asyncio.get_running_loop().create_task(self._open_later(), name="sagaz-opening")
        return None

    @property
    def lacks(self) -> bool:
        """Whether it is waited for."""
        return self._lack is not None

    def check(self) -> None:
        """Refuse the use of a store that lacks something, with the error of its opening."""
        if self._lack is not None:
            # Another one each time: what is raised again and again would grow by a traceback each time.
            raise type(self._lack)(str(self._lack))

    def _note(self, error: StoreNotReady) -> None:
        if self._lack is None or str(self._lack) != str(error):
            logger.error("No saga can be started or run here until this is mended, which is looked for: %s", error)
        self._lack = error

    async def _open_later(self) -> None:
        pause = _FIRST_PAUSE
        while self._lack is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                await self._store.open()
            except StoreNotReady as error:
                self._note(error)
            except StoreUnavailable as error:
                logger.debug("The store cannot be opened now: %s", error)
            except Exception:
                logger.exception("The store cannot be opened now; trying again")
            else:
                self._lack = None
        logger.warning("The store lacks nothing any more: sagas can be started and run here.")
        self._ready()

"""Having the journal of one claimed run written, while its lease lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import chain, repeat

from sagaz_durable.leases.lease import Lease
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.errors import LeaseLost, StoreUnavailable, UnstorableValue

__all__ = ["JournalWriter", "Submit"]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)

Submit = Callable[[RunWrite], Awaitable[bool | None]]


class JournalWriter:
    """Writes for one claimed run.

    A write that the store refuses, or cannot take now, is tried again: the writes are idempotent under their fence, so
    an unknown outcome does no harm. The call that it tells of is not repeated.

    Attributes:
        unstorable: The write that this database can never store; what it would have recorded is lost.
        progressed: Whether the end of a call, or a new wait, has been recorded in this attempt.

    Args:
        lease: Of the run; no write is tried again after its end.
        patience: Seconds for which a write that is refused, by a store that answers, is tried again.
        submit: Commits a write together with those of other runs; False when it was fenced out, None when somebody
            else has locked the run's row.
    """

    def __init__(self, lease: Lease, patience: float, submit: Submit) -> None:
        self._lease = lease
        self._patience = patience
        self._submit = submit
        self.unstorable: RunWrite | None = None
        self.progressed = False

    async def write(self, write: RunWrite) -> None:
        """Have it recorded durably.

        Raises:
            LeaseLost: The run is another process's, or its row was locked until the lease was about to end.
            StoreUnavailable: Until then the store could not be asked.
            UnstorableValue: The database can never store it; see ``unstorable``.
            Exception: What else the store refused it with, for as long as patience lasts.
        """
        refused_since: float | None = None
        for pause in chain(_RETRY_SECONDS, repeat(_RETRY_SECONDS[-1])):
            try:
                accepted = await self._submit(write)
            except UnstorableValue:
                if (plain := _with_plain_errors(write)) == write:
                    self.unstorable = write
                    raise
                write = plain
                continue
            except Exception as error:
                if not isinstance(error, StoreUnavailable):
                    refused_since = refused_since or time.monotonic()
                    if time.monotonic() + pause > refused_since + self._patience:
                        raise
                    logger.warning(
                        "Run %s: its journal was refused, trying again: %s", write.saga_id, masked_error(error)
                    )
                if self._lease.remaining < pause:
                    raise
            else:
                if accepted:
                    self.progressed = self.progressed or write.progress
                    return
                if accepted is False:
                    raise LeaseLost(f"Run {write.saga_id} (attempt {write.attempt}) is another process's now.")
                if self._lease.remaining < pause:
                    raise LeaseLost(f"Run {write.saga_id}: its row was locked by another transaction for too long.")
            await asyncio.sleep(pause)


def _with_plain_errors(write: RunWrite) -> RunWrite:
    """Return the write with texts that every database stores, as far as they are not the user's own values."""
    steps = tuple(replace(step, error=_plain(step.error)) for step in write.steps)
    return replace(write, steps=steps, error=_plain(write.error))


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()

"""A worker's sign of life for probes that start no interpreter: a file whose age and whose first word tell all."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.workers.worker import Worker

__all__ = ["kept_alive"]

logger = logging.getLogger(__name__)

_SECONDS = 5.0


@asynccontextmanager
async def kept_alive(path: str | None, worker: Worker) -> AsyncIterator[None]:
    """Write the file every 5 s within the block, and remove it afterwards; without a path do nothing.

    It says ``ready``, or ``not ready:`` and why. A loop that stands still leaves it to grow old.

    Raises:
        SettingsError: It cannot be written.
    """
    if path is None:
        yield
        return
    try:
        _write(path, worker)
    except OSError as error:
        raise SettingsError(
            f"--heartbeat-file {path}: it cannot be written: {error.strerror}. Name a file in a directory that this "
            "user may write."
        ) from error
    writing = asyncio.get_running_loop().create_task(_keep(path, worker), name="sagaz-heartbeat-file")
    try:
        yield
    finally:
        await cancel_all([writing])
        with suppress(OSError):
            os.remove(path)


async def _keep(path: str, worker: Worker) -> None:
    told = False
    while True:
        await asyncio.sleep(_SECONDS)
        try:
            _write(path, worker)
        except OSError as error:
            if not told:
                logger.warning("The heartbeat file %s cannot be written, trying again: %s", path, error.strerror)
            told = True
        else:
            told = False


def _write(path: str, worker: Worker) -> None:
    # Renamed: whoever reads it never finds half of it.
    unfinished = f"{path}.{os.getpid()}"
    with open(unfinished, "w", encoding="utf-8") as file:
        file.write("ready\n" if worker.problem is None else f"not ready: {worker.problem}\n")
    os.replace(unfinished, path)

"""Ending tasks for certain, and telling a task's own cancellation from that of whoever runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["Halt", "cancel_all", "clear_own_cancellation", "settle_own_cancellation"]

_AGAIN_SECONDS = 0.1


class Halt:
    """Whether a run is being stopped here, and why; a cancellation is then ours, and not its step's own.

    Attributes:
        reason: None while the run goes on.
    """

    __slots__ = ("reason",)

    def __init__(self) -> None:
        self.reason: BaseException | None = None


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12 ``asyncio.wait_for``, which psycopg's pool uses, loses a cancellation that
    comes in the moment of its success.
    """
    # To wait for those that have ended takes the event loop two rounds.
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)


def clear_own_cancellation() -> None:
    """Have the current task forget requests to cancel it that have been delivered."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def settle_own_cancellation() -> bool:
    """Take delivery of a request to cancel the current task, if there is one, and forget it; return whether there was.

    User code that cancels its own task and then returns leaves the request to whatever is awaited next.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        clear_own_cancellation()
        return True
    clear_own_cancellation()
    return True

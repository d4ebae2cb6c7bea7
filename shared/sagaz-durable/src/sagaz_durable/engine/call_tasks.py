"""The tasks in which the calls of one run are under way."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, KeysView
from typing import Any

from sagaz_integration_core.contract.statuses import Call

__all__ = ["CallTasks"]

_AGAIN_SECONDS = 5.0
"""After which time a call that was cancelled, and goes on, is cancelled once more."""


class CallTasks:
    """One task for each call of a step or a compensation.

    Attributes:
        calls: What is under way; a view, which changes with it.

    Args:
        saga_id: For the names of the tasks.
        follow: Told when a call has ended; returns whether whoever waits here need not know.
    """

    def __init__(self, saga_id: str, follow: Callable[[], bool]) -> None:
        self._saga_id = saga_id
        self._follow: Callable[[], bool] | None = follow
        # What one call sets in it, the next one does not see.
        self._context = contextvars.copy_context()
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._unbegun: dict[Call, Callable[[asyncio.Task[None]], None]] = {}
        self.calls: KeysView[Call] = self._tasks.keys()
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody is in `wait`, and was not told yet."""
        return self._untold is not None

    @property
    def _untold(self) -> asyncio.Future[None] | None:
        return None if self._waiting is None or self._waiting.done() else self._waiting

    def begin(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of a call, which tells `began` and `ended`, in a task of its own."""
        step, phase = call
        name = f"sagaz:{self._saga_id}:{step}" + ("" if phase == "do" else f":{phase}")
        loop = asyncio.get_running_loop()
        task = self._tasks[call] = loop.create_task(work, name=name, context=self._context.copy())
        # One that is cancelled before it begins never enters its own code.
        unbegun = self._unbegun[call] = lambda _: self.ended(call)
        task.add_done_callback(unbegun)

    def began(self, call: Call) -> None:
        """Note that a call has begun, in its task, which tells its end itself: one turn of the loop earlier."""
        self._tasks[call].remove_done_callback(self._unbegun.pop(call))

    def ended(self, call: Call) -> None:
        """Note that nothing more is done for a call."""
        del self._tasks[call]
        self._unbegun.pop(call, None)
        if self._follow is None or not self._follow():
            self.go_on()

    async def wait(self) -> None:
        """Return when a call has ended that nobody has followed, or at `go_on`."""
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def go_on(self) -> None:
        """Have whoever waits look again at what is to be done."""
        if (waiting := self._untold) is not None:
            waiting.set_result(None)

    def cancel(self) -> None:
        """Cancel all of them once."""
        for task in self._tasks.values():
            task.cancel()

    async def end(self) -> None:
        """Return when all that were cancelled have ended.

        What a call does at its end may take its time; only a cancellation that was lost is repeated.
        """
        while self._tasks:
            tasks = list(self._tasks.values())
            await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """Let go of whoever follows, who refers to this."""
        self._follow = None

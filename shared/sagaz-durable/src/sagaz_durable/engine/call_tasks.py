"""The tasks in which the calls of one run are under way."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine, KeysView
from functools import partial
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
        # None while one is begun.
        self._tasks: dict[Call, asyncio.Task[None] | None] = {}
        self.calls: KeysView[Call] = self._tasks.keys()
        self._waiting: asyncio.Future[None] | None = None
        self._looks_again = self._is_cancelled = False

    @property
    def is_awaited(self) -> bool:
        """Whether somebody is in `wait`, and was not told yet."""
        return self._untold is not None

    @property
    def _untold(self) -> asyncio.Future[None] | None:
        return None if self._waiting is None or self._waiting.done() else self._waiting

    def begin(self, call: Call, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of a call, which tells of its end by `ended`, in a task of its own.

        It has its first turn now, where this Python can do that, and may have ended when this returns.
        """
        self._tasks[call] = None
        task = self._begun(call, work)
        if call in self._tasks:
            self._tasks[call] = task
            if self._is_cancelled:
                task.cancel()

    def _begun(self, call: Call, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        step, phase = call
        name = f"sagaz:{self._saga_id}:{step}" + ("" if phase == "do" else f":{phase}")
        loop, context = asyncio.get_running_loop(), self._context.copy()
        if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, name=name, context=context, eager_start=True)
        task = loop.create_task(work, name=name, context=context)
        task.add_done_callback(partial(self._lapsed, call))
        return task

    def _lapsed(self, call: Call, task: asyncio.Task[None]) -> None:
        # One that is cancelled before its first turn never enters its own code.
        if self._tasks.get(call) is task:
            self.ended(call)

    def ended(self, call: Call) -> None:
        """Note that nothing more is done for a call."""
        del self._tasks[call]
        if self._follow is None or not self._follow():
            self.go_on()

    async def wait(self) -> None:
        """Return when a call has ended that nobody has followed, or at `go_on`, since this has returned before."""
        if not self._looks_again:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._looks_again = False

    def go_on(self) -> None:
        """Have whoever waits, or will, look again at what is to be done."""
        if (waiting := self._untold) is not None:
            waiting.set_result(None)
        else:
            self._looks_again = True

    def cancel(self) -> None:
        """Cancel all of them once, and one that is being begun."""
        self._is_cancelled = True
        for task in self._tasks.values():
            if task is not None:
                task.cancel()

    async def end(self) -> None:
        """Return when all that were cancelled have ended.

        What a call does at its end may take its time; only a cancellation that was lost is repeated.
        """
        while tasks := [task for task in self._tasks.values() if task is not None]:
            await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """Let go of whoever follows, who refers to this."""
        self._follow = None

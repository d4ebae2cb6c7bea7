"""Noticing, from another thread, that an event loop stands still, and which step made it."""

from __future__ import annotations

import asyncio
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from sagaz_integration_core.contract.record import record

if TYPE_CHECKING:
    from sagaz_durable.leases.lease import Lease

__all__ = ["Holder", "LoopWatch", "Standing"]

TASK_PREFIX = "sagaz:"
"""Tasks that call steps are named ``sagaz:<saga_id>:<step>``, with ``:undo`` or ``:redo`` behind it for others."""


@record
class Holder:
    """What keeps an event loop from turning.

    Attributes:
        lease: That of the run whose step it is; None for code that belongs to no run.
        step: The step's name; ``:undo`` behind it for a compensation, ``:redo`` for a recovery.
        plain: Whether it is a ``def`` step, called on the loop's own thread because that belongs to its caller.
    """

    lease: Lease | None = None
    step: str = ""
    plain: bool = False

    def __str__(self) -> str:
        if self.lease is None:
            return "code outside of sagas"
        name, _, phase = self.step.rpartition(":")
        what = {"undo": "the compensation of step", "redo": "the recovery of step"}.get(phase, "step")
        what = f"{what} {(name if phase in ('undo', 'redo') else self.step)!r}"
        return f"{what} of saga {self.lease.run.saga_name!r} (run {self.lease.saga_id})"


Standing = Callable[[], tuple[str, str] | None]
"""Returns saga_id and step of a ``def`` step that a loop stands still for by design, ``("", "")`` for anything else
that it stands still for by design, and None while it turns."""


class LoopWatch:
    """One event loop, as the keeper's thread sees it.

    Attributes:
        thread_id: The thread that drives the loop.
        seconds: For how long the loop has stood still; 0 while it turns.
        told: Whether the log has been told of it.
        given_up: Why its runs were given up; None while they are not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, standing: Standing | None = None) -> None:
        self._loop = loop
        self._standing = standing
        self._asked = self._answered = False
        self.thread_id = 0
        self.seconds = 0.0
        self.told = False
        self.given_up: str | None = None
        self.holder = Holder()

    def look(self, passed: float, leases: Iterable[Lease]) -> float | None:
        """Ask the loop to show that it turns; return for how long it had stood still if that has just ended.

        Args:
            passed: Seconds since the last look in which the loop could have answered.
        """
        ended = None
        if self._asked and not self._answered:
            holder = self._find(leases)
            if holder is not None:
                self.holder = holder
                self.seconds += passed
            return None
        if self.seconds:
            ended, self.seconds, self.given_up = self.seconds, 0.0, None
        self._answered, self._asked = False, True
        with suppress(RuntimeError):  # It is closed.
            self._loop.call_soon_threadsafe(self._answer)
        return ended

    def forget(self) -> None:
        """Begin anew: nothing was held for a while, and nobody has looked."""
        if not self.seconds:
            self._asked = False

    def _answer(self) -> None:
        self._answered = True

    def _find(self, leases: Iterable[Lease]) -> Holder | None:
        """Tell what the loop stands still for; None when that is not to be counted."""
        standing = self._standing() if self._standing is not None else None
        if standing is not None:
            saga_id, step = standing
            lease = next((lease for lease in leases if lease.saga_id == saga_id), None)
            return Holder(lease, step, plain=True) if lease is not None else None
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task is not None else ""
        for lease in leases:
            own = f"{TASK_PREFIX}{lease.saga_id}:"
            if name.startswith(own):
                return Holder(lease, name.removeprefix(own))
        return Holder()

    def place(self) -> str:
        """Return file, line and code that the loop's thread is at, as one line."""
        frame = sys._current_frames().get(self.thread_id)  # noqa: SLF001
        if frame is None:
            return "its thread has ended"
        code, line = frame.f_code, frame.f_lineno
        text = linecache.getline(code.co_filename, line).strip()
        return f"{code.co_filename}:{line}, in {code.co_name}: {text}"

    def stack(self) -> str:
        """Return where the loop's thread is, as a traceback."""
        frame: FrameType | None = sys._current_frames().get(self.thread_id)  # noqa: SLF001
        return "".join(traceback.format_stack(frame)) if frame is not None else "its thread has ended\n"

"""What the next write of a run's journal tells of its waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sagaz_durable.calls.waits import RunWaits
from sagaz_integration_core.contract.statuses import Call, Phase
from sagaz_integration_core.contract.waits import WaitWrite

__all__ = ["WaitChanges"]


class WaitChanges:
    """Waits that are registered, left, missed or stopped, until a write takes them.

    Args:
        waits: All waits of the run, which follow.
    """

    def __init__(self, waits: RunWaits) -> None:
        self._waits = waits
        self._new: list[WaitWrite] = []
        self._left: list[Call] = []
        self._missed: list[Call] = []
        self._stops = False

    def add(self, new: Iterable[WaitWrite]) -> None:
        """Register waits."""
        made = list(new)
        self._new.extend(made)
        self._waits.registered(made)

    def leave(self, call: Call) -> None:
        """Delete the waits of a call that is not made again."""
        if self._waits.forget(call):
            self._left.append(call)

    def leave_all(self, *phases: Phase) -> None:
        """Delete those of all calls in these phases."""
        for call in self._waits.calls:
            if call[1] in phases:
                self.leave(call)

    def keep(self, call: Call) -> None:
        """Keep what a call was given, as it may be made again; what did not come is waited for anew."""
        if self._waits.forget(call, only_missed=True):
            self._missed.append(call)

    def end_steps(self, *, is_kept: bool) -> None:
        """End the waits of all steps; what they were given is kept where they may be called again."""
        if not is_kept:
            self.leave_all("do", "redo")
            return
        self.stop()
        for call in self._waits.calls:
            self.keep(call)

    def stop(self) -> None:
        """Delete all that are open."""
        if self._waits.open:
            self._stops = True
            self._waits.forget_open()

    def taken(self) -> dict[str, Any]:
        """Return what the write that takes them along says; nothing where there is nothing to tell."""
        if not (self._new or self._left or self._missed or self._stops):
            return {}
        kept = tuple(wait for wait in self._new if not self._stops and (wait.step, wait.phase) not in self._left)
        told = {
            "waits": kept,
            "left_waits": tuple(self._left),
            "missed_waits": tuple(self._missed),
            "stops_waiting": self._stops,
        }
        self._new, self._left, self._missed, self._stops = [], [], [], False
        return told

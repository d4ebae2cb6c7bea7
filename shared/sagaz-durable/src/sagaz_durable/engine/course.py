"""Whether a run goes forward or rolls back, why it does, and until when it may go forward."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sagaz_durable.engine.deadline import Deadline
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.engine.state import passed_pivots
from sagaz_durable.graph import Graph
from sagaz_integration_core.contract.records import ClaimedRun, Direction
from sagaz_integration_core.error_text import message_of, message_text
from sagaz_integration_core.errors import DeadlinePassed

__all__ = ["Course", "was_overdue"]

_OVERDUE = "The run's deadline has passed."


def was_overdue(decision: str | None) -> bool:
    """Whether a run rolled back because its deadline had passed, by the decision that is recorded."""
    return decision is not None and decision.startswith(_OVERDUE)


class Course:
    """The course of one run, as far as it is known here; it limits the calls of steps that go forward.

    Attributes:
        direction: Whether it goes forward, or rolls back.
        deadline: Until when it goes forward.
        decision: Why it rolls back, in words that outlive the process.
        error: The exception that made it roll back, if it was raised in this attempt.
    """

    def __init__(self, run: ClaimedRun, graph: Graph, entries: Entries) -> None:
        self.direction: Direction = run.direction
        self.deadline = Deadline(run.deadline_in)
        self.decision = run.error if run.direction == "back" else None
        self.error: Exception | None = None
        self._has_deadline = run.deadline_in is not None
        self._turned: asyncio.Event | None = None
        self._graph = graph
        self._entries = entries

    @property
    def is_kept(self) -> bool:
        """Whether a pivot is done, so that what stands before it is not undone."""
        # A copy: a thread that asks must not meet a change.
        return bool(passed_pivots(self._graph, dict(self._entries.all)))

    @property
    def heeds_deadline(self) -> bool:
        """Whether the run rolls back when its deadline passes: it goes forward, and has passed no pivot."""
        return self.direction == "forward" and not self.is_kept

    @property
    def is_overdue(self) -> bool:
        """Whether it has to roll back now, although no step has failed."""
        return self.deadline.has_passed and self.heeds_deadline

    def shorten(self, seconds: float) -> float:
        """Return how many of these seconds a call has that goes forward."""
        return self.deadline.at_most(seconds) if self._has_deadline and self.heeds_deadline else seconds

    def is_over(self) -> bool:
        """Whether nothing is called forward any more; callable from any thread."""
        return self.direction == "back" or (self._has_deadline and self.is_overdue)

    async def pause(self, seconds: float) -> None:
        """Return after these seconds, or earlier when nothing is called forward any more."""
        if self._turned is None:
            self._turned = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.shorten(seconds)):
                await self._turned.wait()

    def turn(self, step: str | None = None, error: Exception | None = None, text: str = "") -> str | None:
        """Roll back from now on, because a step has failed or the deadline has passed.

        Return the decision; None if that was taken before: the first failure in time is the decision, and those of
        steps beside it are noted with them.
        """
        if self.direction == "back":
            return None
        why = f"step {step!r}: {text}"
        if self.is_overdue:
            error, why = DeadlinePassed(_OVERDUE), _OVERDUE if step is None else f"{_OVERDUE} Step {step!r}: {text}"
        self.direction, self.error, self.decision = "back", error, why
        if self._turned is not None:
            self._turned.set()
        return why

    @property
    def message(self) -> str:
        """What the step that made the run roll back said, in whatever attempt it was."""
        if self.error is not None:
            return message_text(self.error)
        first = None if was_overdue(self.decision) else self._entries.first_failure
        return message_of(first) if first is not None else self.decision or ""

"""Whether a run goes forward or rolls back, why it does, and until when it may go forward."""

from __future__ import annotations

from sagaz_durable.calls.tries import NO_LIMITS, Limits
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
    """The course of one run, as far as it is known here.

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
        self._graph = graph
        self._entries = entries

    @property
    def heeds_deadline(self) -> bool:
        """Whether the run rolls back when its deadline passes: it goes forward, and has passed no pivot."""
        return self.direction == "forward" and not passed_pivots(self._graph, self._entries.all)

    @property
    def is_overdue(self) -> bool:
        """Whether it has to roll back now, although no step has failed."""
        return self.deadline.has_passed and self.heeds_deadline

    @property
    def limits(self) -> Limits:
        """What a call of a step that goes forward is limited by, besides its own limit."""
        if self.deadline.is_none or not self.heeds_deadline:
            return NO_LIMITS
        return Limits(self.deadline.at_most, lambda: self.is_overdue)

    def turn(self, step: str | None = None, error: Exception | None = None, text: str = "") -> str | None:
        """Roll back from now on, because a step has failed or the deadline has passed.

        Return the decision; None if that was taken before: the first failure in time is the decision, and those of
        steps beside it are noted with them.
        """
        if self.direction == "back":
            return None
        why = f"step {step!r}: {text}"
        if self.is_overdue:
            error, why = DeadlinePassed(_OVERDUE), _OVERDUE if step is None else f"{_OVERDUE} {why.capitalize()}"
        self.direction, self.error, self.decision = "back", error, why
        return why

    @property
    def message(self) -> str:
        """What the step that made the run roll back said, in whatever attempt it was."""
        if self.error is not None:
            return message_text(self.error)
        failed = (entry for (_, phase), entry in self._entries.all.items() if phase == "do" and entry.error)
        first = next(failed, None)
        return message_of(first.error) if first is not None and first.error else self.decision or ""

"""What is known of the calls of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

from sagaz_durable.calls.waits import RunWaits
from sagaz_integration_core.contract.records import ClaimedRun, Phase, StepStatus
from sagaz_integration_core.contract.statuses import Call, Direction
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import ContextValueError

__all__ = ["ENTERED", "TURNED", "UNCALLED", "UNENTERED", "Entry", "KnownEntries", "check_words"]

UNCALLED = "It was not called."
UNENTERED = "It was not called: its process was stopped first."
ENTERED = "It was not called: its process was stopped right before."
TURNED = "It was not called: the run had turned back."
"""The errors of a step whose function never began. Of the first nobody was told, nor of the start of its run; of the
second of that alone; of the others both."""

_DIRECTIONS, _PHASES, _STATUSES = (
    frozenset(get_args(Direction)),
    frozenset(get_args(Phase)),
    frozenset(get_args(StepStatus)),
)


class Entry(NamedTuple):
    """What is known of one call.

    Attributes:
        attempt: In which it began last.
        begun: Whether the claim of this attempt has journaled it as ``started``, so that it was not called yet.
        resumed: The same of a call that was left at a wait: what stands before that was called by earlier attempts.
    """

    status: StepStatus
    result: str | None
    error: str | None
    attempt: int
    compensated: bool
    begun: bool = False
    resumed: bool = False


def check_words(run: ClaimedRun) -> None:
    """Refuse a run whose rows say what this release does not know: a later one, or a person, has written it.

    It could only be taken for something else: a step that is done for one to be called, say.

    Raises:
        ContextValueError: Naming the step and the word.
    """
    found: list[tuple[str, str]] = []
    if run.direction not in _DIRECTIONS:
        found.append(("direction of the run", run.direction))
    found += [(f"phase of step {one.step!r}", one.phase) for one in run.steps if one.phase not in _PHASES]
    found += [(f"status of step {one.step!r}", one.status) for one in run.steps if one.status not in _STATUSES]
    for what, word in found:
        raise ContextValueError(f"The stored {what} is {value_text(word, 60)}, which this release does not know")


def _claimed(run: ClaimedRun) -> dict[Call, Entry]:
    """Return the entries of a run as it was claimed, in the order in which they began."""
    entries: dict[Call, Entry] = {
        (entry.step, entry.phase): Entry(
            entry.status,
            entry.result,
            entry.error,
            entry.attempt,
            entry.compensated,
            # Nobody but the claim has written in this attempt.
            resumed=entry.status == "started" and entry.attempt == run.attempt,
        )
        for entry in run.steps
    }
    for step in run.begun:
        entries[step, "do"] = Entry("started", None, None, run.attempt, False, begun=True)
    return entries


class KnownEntries:
    """The entries of one claimed run.

    Attributes:
        waits: What the run's calls wait for.
    """

    def __init__(self, run: ClaimedRun) -> None:
        self._entries = _claimed(run)
        self.waits = RunWaits(run)

    @property
    def all(self) -> Mapping[tuple[str, Phase], Entry]:
        """All entries, in the order in which they began."""
        return self._entries

    @property
    def is_untouched(self) -> bool:
        """Whether nobody was told of the start of the run, in any attempt, as far as is known."""
        return all(entry.begun or entry.error == UNCALLED for entry in self._entries.values())

    @property
    def first_failure(self) -> str | None:
        """What the first step said that was called and has failed."""
        said = (entry.error for (_, phase), entry in self._entries.items() if phase == "do" and entry.error)
        return next((error for error in said if not error.startswith(UNCALLED[:-1])), None)

    @property
    def results(self) -> dict[str, str]:
        """What the steps that are done have returned, as JSON."""
        return {
            step: entry.result
            for (step, phase), entry in self._entries.items()
            if phase == "do" and entry.status == "done" and entry.result
        }

    @property
    def recoveries(self) -> dict[str, str]:
        """What was decided so far about steps that have failed; see `recovered`."""
        steps = [step for step, phase in self._entries if phase == "redo"]
        return {step: text for step in steps if (text := self.recovered(step)) is not None}

    def recovered(self, step: str) -> str | None:
        """Return what was decided so far about a step that has failed; see `recovery.decided`."""
        redo, do = self._entries.get((step, "redo")), self._entries.get((step, "do"))
        if redo is not None and redo.status == "done":
            return redo.result
        return do.result if do is not None and do.status in ("failed", "in_doubt") else None

    def get(self, step: str, phase: Phase) -> Entry | None:
        """Return what is known of a step, or of its compensation."""
        return self._entries.get((step, phase))

    def may_owe(self, step: str) -> bool:
        """Whether an earlier call of a step may have had its effect, and there was a compensation for that.

        What calls it again may be a deployment that has lost it: then the run owes it all the same.
        """
        entry = self._entries.get((step, "do"))
        return entry is not None and entry.compensated and entry.status != "failed"

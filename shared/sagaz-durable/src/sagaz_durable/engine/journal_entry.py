"""What is known of one call of a run."""

from __future__ import annotations

from typing import NamedTuple

from sagaz_integration_core.contract.records import ClaimedRun, StepStatus
from sagaz_integration_core.contract.statuses import Call

__all__ = ["Entry", "claimed"]


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


def claimed(run: ClaimedRun) -> dict[Call, Entry]:
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

"""What is made of a lease that ended without a release, in every store alike."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Literal

from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import AttemptOutcome, Direction, Phase, Release, RunStatus

__all__ = [
    "ALONE_FROM",
    "Verdict",
    "decision",
    "executed_as",
    "jitter",
    "most_alone",
    "released",
    "under_way",
    "verdict",
]

ALONE_FROM = 2
"""From how many suspicions on a run is executed alone."""

Verdict = Literal["lost", "charged", "suspects"]
"""``lost``: its owner lives; ``charged``: its owner died with this run alone; ``suspects``: with several."""


def verdict(*, lives: bool, company: bool) -> Verdict:
    """Return what is made of an owner's ended leases.

    Args:
        lives: Its heartbeat says so.
        company: It holds another run, or held one that was settled before.
    """
    if lives:
        return "lost"
    return "suspects" if company else "charged"


def executed_as(status: RunStatus, direction: Direction) -> RunStatus:
    """Return the status that a run of this status gets by a claim."""
    if status == "waiting":
        return "executing" if direction == "forward" else "compensating"
    return "executing" if status == "pending" else status


def jitter(lease_seconds: float) -> float:
    """Return for how many seconds a suspect waits, so that those of one death come back apart."""
    return random.uniform(0, lease_seconds)


def most_alone(live_workers: int) -> int:
    """Return how many runs may be executed alone at once: the other half of the workers does the rest."""
    return max(1, live_workers // 2)


def released(release: Release) -> AttemptOutcome:
    """Return how an attempt ended that gave its run back."""
    return "halted" if release.failed else "released"


def decision(change: Intervention) -> str:
    """Return the detail of an attempt that a person's decision ended."""
    return f"{change.action} by {change.actor}"


def under_way(started: Iterable[tuple[str, Phase]]) -> str | None:
    """Return the names of steps and compensations that have begun, as an attempt's record has them."""
    names = [step if phase == "do" else f"{phase} of {step}" for step, phase in started]
    return ", ".join(names) or None

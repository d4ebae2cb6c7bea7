"""Starting a contender's workers, and waiting until they have worked."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.harness.model import Figures, Measure, Place
from benchmarks.harness.processes import running
from benchmarks.ledger import Ledger

__all__ = ["Fleet", "measure"]

_WARM_UP = 1000
"""Slots that are for runs before those that count."""

_PAUSE = 0.05
"""Seconds between two starts, where what counts is how soon they are executed."""


@dataclass(frozen=True)
class Fleet:
    """A contender's workers.

    Attributes:
        command: What starts one of them.
        environment: For them, besides the ledger.
        enqueue: Has these runs executed; they shall become visible at once, as one commit.
        check: Raises if what was promised to be stored of so many runs was not.
        reset: Forgets what was executed.
        prepare: What these runs need before they can be enqueued.
        beside: Within this, the runs that are measured are enqueued.
        warm_up: How many runs are executed before each measurement, at a time.
    """

    command: Sequence[str]
    enqueue: Callable[[Iterable[int]], None]
    environment: Mapping[str, str]
    check: Callable[[int], None]
    reset: Callable[[], None]
    prepare: Callable[[Iterable[int]], None] = lambda runs: None
    beside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    warm_up: int = 100
    processes: int = 1


def measure(place: Place, fleet: Fleet) -> Measure:
    """Return what measures a fleet as the place's options say: its throughput, or its latency."""
    ledger = Ledger(place.folder / "ledger")

    def throughput(size: int) -> Figures:
        with _working(place, fleet, ledger, size) as warmed:
            backlog = range(_WARM_UP, _WARM_UP + size)
            fleet.enqueue(backlog)
            ledger.wait(backlog, 120)
            _verify(fleet, warmed + size)
        took = max(map(ledger.end, backlog)) - min(map(ledger.begin, backlog))
        return {"throughput": size / took}

    def latency(size: int) -> Figures:
        with _working(place, fleet, ledger, size):
            backlog = range(_WARM_UP, _WARM_UP + size)
            fleet.prepare(backlog)
            with fleet.beside():
                waited = [_commit(fleet, run, place.options.get("pause", _PAUSE)) for run in backlog]
            ledger.wait(backlog, 60)
        milliseconds = sorted((ledger.begin(run) - at) * 1e3 for run, at in zip(backlog, waited, strict=True))
        return {"p50": statistics.median(milliseconds), "p99": milliseconds[int(0.99 * (size - 1))]}

    return latency if place.options.get("latency") else throughput


def _commit(fleet: Fleet, run: int, pause: float) -> float:
    """Have one run executed, after a pause; returns when its commit was answered."""
    # Not every so many ms sharp, lest all of them meet the same moment of somebody's polling.
    time.sleep(pause * random.uniform(0.8, 1.2))
    fleet.enqueue([run])
    return time.monotonic()


def _verify(fleet: Fleet, runs: int) -> None:
    """Check what is stored; the last runs' ends may still be on their way."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return fleet.check(runs)
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def _working(place: Place, fleet: Fleet, ledger: Ledger, size: int) -> Iterator[int]:
    """Have warm workers; gives how many runs they have executed."""
    fleet.reset()
    ledger.clear(_WARM_UP + size)
    environment = {**fleet.environment, **ledger.environment}
    with contextlib.ExitStack() as stack:
        for _ in range(fleet.processes):
            stack.enter_context(running(fleet.command, place.folder / "worker.log", environment))
        yield _warm_up(fleet, ledger)


def _warm_up(fleet: Fleet, ledger: Ledger) -> int:
    """Have every worker execute something: then all of them are there, and know their statements."""
    for first in range(0, _WARM_UP, fleet.warm_up):
        some = range(first, first + fleet.warm_up)
        fleet.prepare(some)
        fleet.enqueue(some)
        ledger.wait(some, 60)
        # What the last of them have to store yet is not to be a part of what is measured.
        time.sleep(0.2)
        if len(ledger.pids(range(first + fleet.warm_up))) >= fleet.processes:
            return first + fleet.warm_up
    raise RuntimeError(f"Only {len(ledger.pids(range(_WARM_UP)))} of {fleet.processes} workers do anything.")

"""Interleaved rounds: each contender has its turn in each round, so that what disturbs one disturbs all."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.model import Contender, Figures, Job
from benchmarks.harness.processes import running
from benchmarks.harness.servers import database

__all__ = ["Plan", "Results", "Services", "run"]

_PATIENCE = 300.0
"""Seconds for one turn, or one preparation."""


@dataclass(frozen=True)
class Services:
    """What contenders may ask for; ``missing`` says why something is not there."""

    folder: Path
    postgres: str
    redis: str
    missing: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """How much is to be measured."""

    quick: bool
    rounds: int | None
    only: Sequence[str]


@dataclass
class Results:
    """What was measured: for each contender its rounds; for those that were left out, why."""

    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def run(job: Job, services: Services, plan: Plan, tell: Callable[[str], None]) -> Results:
    """Measure all contenders of a job."""
    results = Results()
    size = job.size[plan.quick]
    with contextlib.ExitStack() as stack:
        seats = []
        for contender in job.contenders:
            if plan.only and contender.name not in plan.only:
                continue
            if missing := [services.missing[need] for need in contender.needs if need in services.missing]:
                results.left_out[contender.name] = "; ".join(missing)
                tell(f"  LEFT OUT {contender.name}: {missing[0]}")
                continue
            seats.append(stack.enter_context(_seat(job, contender, services, plan.quick)))
            results.rounds[contender.name] = []
        for number in range(plan.rounds or job.rounds[plan.quick]):
            for seat in seats[:: -1 if number % 2 else 1]:
                figures = seat.turn(max(1, round(size * seat.contender.scale)))
                results.rounds[seat.contender.name].append(figures)
                shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
                tell(f"  round {number + 1}: {seat.contender.name}: {shown}")
    return results


class _Seat:
    """One contender's process, which has said that it is ready."""

    def __init__(self, contender: Contender, process: subprocess.Popen[str], folder: Path) -> None:
        self.contender = contender
        self._process = process
        self._folder = folder
        if self._answer() != "ready":
            raise self._failure("did not get ready")

    def turn(self, size: int) -> Figures:
        """Have it measure."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{size}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if not answer:
            raise self._failure("failed")
        figures: Figures = json.loads(answer)
        return figures

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            raise self._failure(f"gave no answer within {_PATIENCE:g} s")
        return self._process.stdout.readline().strip()

    def _failure(self, what: str) -> SystemExit:
        # Its own log, and those of the processes that it has started.
        ends = [f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}" for log in self._folder.glob("*.log")]
        return SystemExit("\n".join([f"Contender {self.contender.name!r} {what}.", *ends]))


@contextlib.contextmanager
def _seat(job: Job, contender: Contender, services: Services, quick: bool) -> Iterator[_Seat]:
    with contextlib.ExitStack() as stack:
        folder = services.folder / f"{job.name}-{contender.name.replace(' ', '-').replace('/', '-')}"
        folder.mkdir()
        place = {
            "folder": str(folder),
            "postgres": stack.enter_context(database(services.postgres)) if "postgres" in contender.needs else "",
            "redis": services.redis if "redis" in contender.needs else "",
            "options": dict(contender.options),
            "quick": quick,
        }
        command = [sys.executable, "-m", "benchmarks.harness.child", contender.module, json.dumps(place)]
        process = stack.enter_context(running(command, folder / "contender.log", pipes=True))
        yield _Seat(contender, process, folder)

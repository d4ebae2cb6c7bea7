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

_PATIENCE = 600.0
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
    """What was measured.

    Attributes:
        rounds: The figures of each contender, round by round.
        left_out: Why a contender has none.
        failed: Whether one of those was to have some.
    """

    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: bool = False


class ContenderFailed(Exception):
    """A contender raised, ended or did not answer in time; it is left out, and the others go on."""


def run(job: Job, services: Services, plan: Plan, tell: Callable[[str], None]) -> Results:
    """Measure all contenders of a job."""
    results = Results()
    size = job.size[plan.quick]

    def leave_out(contender: Contender, why: str) -> None:
        results.left_out[contender.name] = why.partition("\n")[0]
        results.rounds.pop(contender.name, None)
        tell(f"  LEFT OUT {contender.name}: {why}")

    def failed(contender: Contender, error: ContenderFailed) -> None:
        leave_out(contender, str(error))
        results.failed = True

    with contextlib.ExitStack() as stack:
        seats = []
        for contender in job.contenders:
            if plan.only and contender.name not in plan.only:
                continue
            if missing := [services.missing[need] for need in contender.needs if need in services.missing]:
                leave_out(contender, "; ".join(missing))
                continue
            try:
                seats.append(stack.enter_context(_seat(job, contender, services, plan.quick)))
            except ContenderFailed as error:
                failed(contender, error)
        results.rounds = {seat.contender.name: [] for seat in seats}
        for number in range(plan.rounds or job.rounds[plan.quick]):
            for seat in seats[:: -1 if number % 2 else 1]:
                if seat.contender.name in results.left_out:
                    continue
                try:
                    figures = seat.turn(max(1, round(size * seat.contender.scale)))
                except ContenderFailed as error:
                    failed(seat.contender, error)
                    continue
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
        try:
            self._process.stdin.write(f"{size}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("has ended") from None
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

    def _failure(self, what: str) -> ContenderFailed:
        # Its own log, and those of the processes that it has started.
        ends = [f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}" for log in self._folder.glob("*.log")]
        return ContenderFailed("\n".join([f"it {what}", *ends]))


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
        process = stack.enter_context(running(command, folder / "contender.log", pipes=True, group=True))
        yield _Seat(contender, process, folder)

"""What a benchmark is made of: jobs, their contenders, and the targets that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

__all__ = ["POSTGRES", "Contender", "Figures", "Job", "Measure", "Metric", "Place", "Prepare", "Target"]

Figures: TypeAlias = Mapping[str, float]
"""What one turn of one contender came to, by metric."""

Measure: TypeAlias = Callable[[int], Figures]
"""Takes the size of a turn, which means what the job says it means, and measures."""

Prepare: TypeAlias = Callable[["Place"], AbstractContextManager[Measure]]
"""What a contender's module has under the name ``contender``: sets up, gives what measures, and cleans up."""

Need: TypeAlias = Literal["postgres", "redis"]

POSTGRES: tuple[Need, ...] = ("postgres",)
"""What most contenders need."""


@dataclass(frozen=True)
class Place:
    """Where a contender works; everything in it is its own and thrown away afterwards.

    Attributes:
        folder: An empty folder.
        postgres: The URL of an empty database, "" if it asked for none.
        redis: The URL of an empty Redis, "" if it asked for none.
        options: What its `Contender` says.
        quick: Whether figures matter less than time.
    """

    folder: Path
    postgres: str
    redis: str
    options: Mapping[str, Any]
    quick: bool


@dataclass(frozen=True)
class Contender:
    """One of those that are compared.

    Attributes:
        module: Below ``benchmarks.contenders``; it is loaded in a process of its own.
        lacks: What it does not do that sagaz for the web does.
        options: For modules that serve several contenders.
        scale: How much of a turn's size it gets: less for one that would take too long.
    """

    name: str
    module: str
    lacks: str = ""
    needs: tuple[Need, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0


@dataclass(frozen=True)
class Metric:
    """A figure that every contender of a job is measured by.

    Attributes:
        better: Which of two figures is the better one.
        digits: After the point, in the report.
    """

    name: str
    unit: str
    better: Literal["more", "less"]
    digits: int = 0


@dataclass(frozen=True)
class Target:
    """A bound for one figure, or for the ratio of two figures of the same round.

    Attributes:
        id: Under which ``notes.toml`` says why it is not met.
        of: A contender and a metric.
        to: That by which it is divided; None for the figure itself.
        minus: A contender's metric that is taken off before.
        at_least: The lower bound, or None.
        at_most: The upper bound, or None.
    """

    id: str
    text: str
    of: tuple[str, str]
    to: tuple[str, str] | None = None
    minus: tuple[str, str] | None = None
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether a figure is within the bounds."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The bounds in words."""
        low = f"at least {self.at_least:g}" if self.at_least is not None else ""
        high = f"at most {self.at_most:g}" if self.at_most is not None else ""
        return " and ".join(filter(None, (low, high)))


@dataclass(frozen=True)
class Job:
    """One thing that is measured.

    Attributes:
        number: Of the target in the issue that it measures, with a letter when there are several of them.
        size: What a turn's size means, and is, in a whole run and in a quick one.
        rounds: How many, in a whole run and in a quick one.
        baseline: The contender by which the report's table divides.
        chart: The metrics that are drawn; by default all of them.
    """

    name: str
    number: str
    title: str
    what: str
    contenders: tuple[Contender, ...]
    metrics: tuple[Metric, ...]
    targets: tuple[Target, ...]
    size: tuple[int, int]
    rounds: tuple[int, int]
    baseline: str
    chart: tuple[str, ...] = ()

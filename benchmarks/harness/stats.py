"""Medians, and how far the middle half of the rounds is spread around them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness.model import Figures, Target

__all__ = ["Spread", "figures_of", "of_target", "ratios", "spread"]


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles on both sides of it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Summarise the rounds."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def figures_of(rounds: Mapping[str, Sequence[Figures]], of: tuple[str, str]) -> list[float]:
    """Return one contender's figures for one metric, round by round."""
    contender, metric = of
    return [figures[metric] for figures in rounds.get(contender, ()) if metric in figures]


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Divide figures of the same rounds."""
    return [mine / theirs for mine, theirs in zip(of, to, strict=True)]


def of_target(target: Target, rounds: Mapping[str, Sequence[Figures]]) -> list[float]:
    """Return what a target bounds, round by round; nothing when one of its contenders was left out."""
    values = figures_of(rounds, target.of)
    divisors = figures_of(rounds, target.to) if target.to else [1.0] * len(values)
    taken_off = figures_of(rounds, target.minus) if target.minus else [0.0] * len(values)
    if not len(values) == len(divisors) == len(taken_off):
        return []
    return ratios([value - off for value, off in zip(values, taken_off, strict=True)], divisors)

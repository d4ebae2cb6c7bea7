"""The cost of a middleware: requests with it and without it, in small blocks that alternate in one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.harness.model import Figures, Measure

__all__ = ["HEADER", "INBOUND", "measuring"]

HEADER = "X-Correlation-ID"
INBOUND = "0b2d5c9e-7a44-4b86-8a0f-2f2d0f1b6c11"
"""What a client, or the proxy in front of this server, has sent."""

_REQUESTS = 50
"""In a block: short enough for whatever disturbs one block to disturb its neighbour."""

Block = Callable[[int], float]
"""Makes that many requests, and returns the seconds of the processor's time that they took."""


def measuring(blocks: dict[str, tuple[Block, Block]]) -> Measure:
    """Return what measures microseconds per request above the bare application's, by metric.

    Args:
        blocks: For each metric what makes requests of the bare application, and of the one with the middleware.
    """

    def measure(size: int) -> Figures:
        return {metric: _above(bare, wrapped, size) for metric, (bare, wrapped) in blocks.items()}

    measure(3)
    return measure


def _above(bare: Block, wrapped: Block, size: int) -> float:
    costs = []
    for number in range(size):
        if number % 2:
            with_it, without = wrapped(_REQUESTS), bare(_REQUESTS)
        else:
            without, with_it = bare(_REQUESTS), wrapped(_REQUESTS)
        costs.append((with_it - without) / _REQUESTS * 1e6)
    return statistics.median(costs)

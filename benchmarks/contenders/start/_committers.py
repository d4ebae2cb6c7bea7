"""Committing the same transaction over and over, alone and from several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.harness.model import Figures, Measure

__all__ = ["CONTEXT", "committing"]

CONTEXT = {"order_id": 4711, "customer": "someone", "items": [1, 2, 3]}
"""What the saga is given."""


@contextmanager
def committing(transaction: Callable[[], object], at_once: Sequence[int]) -> Iterator[Measure]:
    """Measure transactions per second; the threads stay, and so do their connections.

    Args:
        at_once: How many threads commit at once; one figure for each number.
    """
    with ThreadPoolExecutor(max(at_once)) as pool:

        def measure(size: int) -> Figures:
            return {f"{threads} at once": _per_second(pool, transaction, threads, size) for threads in at_once}

        # Connections, prepared statements, caches.
        for threads in at_once:
            _per_second(pool, transaction, threads, 10 * threads)
        yield measure


def _per_second(pool: ThreadPoolExecutor, transaction: Callable[[], object], threads: int, size: int) -> float:
    barrier = threading.Barrier(threads + 1)

    def commit() -> None:
        barrier.wait()
        for _ in range(max(1, size // threads)):
            transaction()

    committers = [pool.submit(commit) for _ in range(threads)]
    barrier.wait()
    began = time.perf_counter()
    for committer in committers:
        committer.result()
    return max(1, size // threads) * threads / (time.perf_counter() - began)

"""Eight threads of a server that make the same call over and over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.harness.model import Figures, Measure

__all__ = ["THREADS", "calling", "loop_thread"]

THREADS = 8

Call = Callable[[], object]


@contextmanager
def calling(call: Call) -> Iterator[Measure]:
    """Measure microseconds per call: the time that all threads take, divided by their calls."""
    with ThreadPoolExecutor(THREADS) as pool:

        def measure(size: int) -> Figures:
            barrier = threading.Barrier(THREADS + 1)

            def work() -> None:
                barrier.wait()
                for _ in range(max(1, size // THREADS)):
                    call()

            working = [pool.submit(work) for _ in range(THREADS)]
            barrier.wait()
            began = time.perf_counter()
            for thread in working:
                thread.result()
            return {"per call": (time.perf_counter() - began) * 1e6 / (max(1, size // THREADS) * THREADS)}

        measure(20 * THREADS)
        yield measure


@contextmanager
def loop_thread() -> Iterator[Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]]:
    """Give what runs a coroutine on one event loop that lives in a thread, and waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

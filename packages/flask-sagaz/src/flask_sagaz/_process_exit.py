"""Ends the threads of this process's runtimes when the interpreter exits, early enough for them to drain."""

from __future__ import annotations

import atexit

# Imported first, so that its own exit function, after which no executor takes work any more, is called after ours.
import concurrent.futures.thread  # noqa: F401
import threading
from typing import Protocol

__all__ = ["add", "discard"]


class Ending(Protocol):
    """A thread that can be told to end."""

    def stop(self) -> None:
        """End soon."""

    def join(self) -> None:
        """Wait for the end, within bounds."""


_running: set[Ending] = set()
# What a fork has inherited stays here too: collecting a copied event loop would disturb the one of the parent.


def add(thread: Ending) -> None:
    """End this thread at exit."""
    _running.add(thread)


def discard(thread: Ending) -> None:
    """Forget a thread that has ended."""
    _running.discard(thread)


def _end_all() -> None:
    threads = tuple(_running)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join()


# atexit's functions are called after all threads but daemons were joined: too late to drain.
getattr(threading, "_register_atexit", atexit.register)(_end_all)

"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["until", "until_true"]

T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T]], what: str, seconds: float = 20.0) -> T:
    """Ask again and again until the answer is truthy, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := await ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.005)
    return answer


def until_true(ask: Callable[[], T], what: str, seconds: float = 20.0, pause: float = 0.02) -> T:
    """Do as `until`, in synchronous code."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
    return answer

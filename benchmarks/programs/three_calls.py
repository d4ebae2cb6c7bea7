"""What a task is that does the same as the saga of three steps, where nobody knows steps."""

from __future__ import annotations

from benchmarks.ledger import began, ended

__all__ = ["three_calls"]


async def three_calls(n: int) -> None:
    """Make three calls."""
    await _reserve(n)
    await _charge()
    await _ship(n)


async def _reserve(n: int) -> dict[str, int]:
    began(n)
    return {"reservation": 1}


async def _charge() -> dict[str, int]:
    return {"charge": 2}


async def _ship(n: int) -> dict[str, int]:
    ended(n)
    return {"parcel": 3}

"""What a task is that does the same as the saga of three steps, where nobody knows steps; in both kinds."""

from __future__ import annotations

from benchmarks.ledger import began, ended

__all__ = ["three_awaited_calls", "three_calls"]


async def three_awaited_calls(n: int) -> None:
    """Make three calls, and wait for each."""
    await _reserve_async(n)
    await _charge_async()
    await _ship_async(n)


async def _reserve_async(n: int) -> dict[str, int]:
    began(n)
    return {"reservation": 1}


async def _charge_async() -> dict[str, int]:
    return {"charge": 2}


async def _ship_async(n: int) -> dict[str, int]:
    ended(n)
    return {"parcel": 3}


def three_calls(n: int) -> None:
    """Make three calls."""
    _reserve(n)
    _charge()
    _ship(n)


def _reserve(n: int) -> dict[str, int]:
    began(n)
    return {"reservation": 1}


def _charge() -> dict[str, int]:
    return {"charge": 2}


def _ship(n: int) -> dict[str, int]:
    ended(n)
    return {"parcel": 3}

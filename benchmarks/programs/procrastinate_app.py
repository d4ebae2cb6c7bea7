"""A procrastinate application with a task of three steps."""

from __future__ import annotations

import os

import procrastinate

from benchmarks.ledger import began, ended

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))


@app.task(name="noop")
async def noop(n: int) -> None:
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

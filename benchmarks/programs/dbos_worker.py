"""A DBOS application with a workflow of three steps, and a queue of which it takes 50 at once."""

from __future__ import annotations

import os
import threading

from dbos import DBOS, DBOSConfig

from benchmarks.ledger import began, ended

QUEUE = "benchmark"
config: DBOSConfig = {
    "name": "benchmark",
    "system_database_url": os.environ["BENCH_POSTGRES"],
    "sys_db_pool_size": 20,
    "log_level": "ERROR",
    "application_version": "1",
}


@DBOS.step()
async def reserve(n: int) -> dict[str, int]:
    """Note the beginning."""
    began(n)
    return {"reservation": 1}


@DBOS.step()
async def charge() -> dict[str, int]:
    """Do nothing."""
    return {"charge": 2}


@DBOS.step()
async def ship(n: int) -> dict[str, int]:
    """Note the end."""
    ended(n)
    return {"parcel": 3}


@DBOS.workflow(name="noop")
async def noop(n: int) -> None:
    """Make the three steps."""
    await reserve(n)
    await charge()
    await ship(n)


if __name__ == "__main__":
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=50, polling_interval_sec=float(os.environ["BENCH_POLL"]))
    threading.Event().wait()

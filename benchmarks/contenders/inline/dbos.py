"""A DBOS workflow of three recorded steps, called from synchronous code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS, DBOSConfig

from benchmarks.contenders.inline._callers import calling
from benchmarks.contenders.worker._dbos import address
from benchmarks.harness.model import Measure, Place


@DBOS.step()
def reserve() -> dict[str, int]:
    """Do nothing."""
    return {"reservation": 1}


@DBOS.step()
def charge() -> dict[str, int]:
    """Do nothing."""
    return {"charge": 2}


@DBOS.step()
def ship() -> dict[str, int]:
    """Do nothing."""
    return {"parcel": 3}


@DBOS.workflow()
def order(order_id: str) -> None:
    """Make the three steps."""
    reserve()
    charge()
    ship()


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    config: DBOSConfig = {"name": "benchmark", "system_database_url": address(place.postgres), "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    try:
        with calling(lambda: order("A1")) as measure:
            yield measure
    finally:
        DBOS.destroy()

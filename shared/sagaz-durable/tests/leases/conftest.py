"""A clock that stands still, and leases of runs that nobody executes."""

from __future__ import annotations

import pytest
from lease_builders import claimed

from sagaz_durable.leases import keeper, lease, leases


class Clock:
    """The clock that leases are measured by; it goes on when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (keeper, lease, leases):
        monkeypatch.setattr(module, "now", clock)
    return clock


@pytest.fixture
def make(clock):
    """Makes leases of 30 seconds with a margin of 2."""

    def make(saga_id="run-1", attempt=1, *, loop=None, endless=False, failures=0):
        run = claimed(saga_id, attempt, failures=failures)
        return lease.Lease(run, clock.time, 30.0, 2.0, loop, endless=endless)

    return make


@pytest.fixture
def stopped():
    """Has what a lease tells its run noted."""
    told = []

    def listen(one):
        one.on_stop = told.append
        return told

    return listen

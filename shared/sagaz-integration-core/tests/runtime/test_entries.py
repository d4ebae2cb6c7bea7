"""What shares a commit: an event with what it tells of, and never with less."""

from __future__ import annotations

import asyncio

import pytest

from sagaz_integration_core.clock import now
from sagaz_integration_core.entries import Entries
from sagaz_integration_core.leases import Lease
from sagaz_integration_core.outbox import EventWrite
from sagaz_integration_core.records import ClaimedRun

pytestmark = pytest.mark.anyio


class Writes(list):
    """Takes writes, each when it is let."""

    def __init__(self):
        super().__init__()
        self.let = asyncio.Event()
        self.let.set()

    async def __call__(self, write):
        await self.let.wait()
        self.append(write)
        return True

    @property
    def told(self):
        return [[event.event_id for event in write.events] for write in self]


@pytest.fixture
async def writes():
    return Writes()


@pytest.fixture
async def entries(writes):
    run = ClaimedRun("s", "S", "executing", "{}", None, None, 1, 0)
    lease = Lease(ClaimedRun("s", "s", "executing", "{}", None, None, 1, 0), now(), 30, 2)
    lease.on_stop = pytest.fail
    entries = Entries(run, "w", lease, 30, writes, asyncio.get_running_loop())
    yield entries
    entries.close()


def event(name):
    return (EventWrite(name, "t", "{}"),)


async def test_the_end_of_a_run_is_told_with_its_status_though_a_step_before_it_is_being_written(entries, writes):
    entries.done("last", "do", None, event("last.success"))
    entries._flush_soon()
    await entries.finish("completed", None, event("completed"))
    assert writes.told == [["last.success"], ["completed"]]
    assert [write.status for write in writes] == [None, "completed"]


async def test_a_failure_is_told_with_the_decision_to_roll_back_whatever_ends_beside_it(entries, writes):
    writes.let.clear()
    entries.done("first", "do", None, event("first.success"))
    entries._flush_soon()
    failing = asyncio.create_task(
        entries.failed("second", "do", "ValueError: no", decision="no", events=event("second.failed"))
    )
    await asyncio.sleep(0)
    entries.done("beside", "do", None, event("beside.success"))
    entries._flush_soon()
    writes.let.set()
    await failing
    assert writes.told == [["first.success"], ["beside.success", "second.failed"]]
    assert [write.status for write in writes] == [None, "compensating"]
    assert [[step.step for step in write.steps] for write in writes] == [["first"], ["beside", "second"]]


async def test_the_end_of_a_step_shares_the_commit_of_what_follows_it(entries, writes):
    entries.done("first", "do", None, event("first.success"))
    await entries.started("second", "do")
    assert writes.told == [["first.success"]]
    assert [(step.step, step.status) for step in writes[0].steps] == [("first", "done"), ("second", "started")]


async def test_what_nothing_follows_is_written_soon(entries, writes):
    entries.done("first", "do", None, event("first.success"))
    async with asyncio.timeout(10):
        while not writes:
            await asyncio.sleep(0.001)
    assert writes.told == [["first.success"]]

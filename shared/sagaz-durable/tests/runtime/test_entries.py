"""What shares a commit: an event with what it tells of, and never with less."""

from __future__ import annotations

import asyncio

import pytest

from sagaz_durable.concurrency.clock import now
from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.engine.journal.entries import Entries
from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.errors import LeaseLost, StoreUnavailable, WriteRefused

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


def under_lease(seconds, submit):
    run = ClaimedRun("s", "S", "executing", "{}", None, None, 1, 0)
    lease = Lease(run, now(), seconds, margin=0)
    return Entries(run, "w", lease, 30, submit, HeldWrites(asyncio.get_running_loop()))


@pytest.fixture
async def entries(writes):
    entries = under_lease(30, writes)
    entries._lease.on_stop = pytest.fail
    yield entries
    entries.close()


def event(name):
    return (EventWrite(name, "t", "{}"),)


async def test_the_end_of_a_run_is_told_with_its_status_though_a_step_before_it_is_being_written(entries, writes):
    entries.done("last", "do", None, event("last.success"))
    entries.flush()
    await entries.finish("completed", None, event("completed"))
    assert writes.told == [["last.success"], ["completed"]]
    assert [write.status for write in writes] == [None, "completed"]


async def test_a_failure_is_told_with_the_decision_to_roll_back_whatever_ends_beside_it(entries, writes):
    writes.let.clear()
    entries.done("first", "do", None, event("first.success"))
    entries.flush()
    failing = asyncio.create_task(
        entries.failed("second", "do", "ValueError: no", decision="no", events=event("second.failed"))
    )
    await asyncio.sleep(0)
    entries.done("beside", "do", None, event("beside.success"))
    entries.flush()
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


async def fenced_out(write):
    return False


@pytest.mark.parametrize(
    "record",
    [
        lambda entries: entries.started("one", "do"),
        lambda entries: entries.failed("one", "do", "ValueError: no", decision="no"),
        lambda entries: entries.finish("completed", None),
    ],
)
async def test_whoever_records_for_a_run_that_is_another_processs_is_told_so(record):
    with pytest.raises(LeaseLost, match="another process's now"):
        await record(under_lease(30, fenced_out))


async def test_a_run_is_told_that_it_is_another_processs_by_what_is_written_without_anybody_waiting():
    stopped = asyncio.get_running_loop().create_future()
    entries = under_lease(30, fenced_out)
    entries._lease.on_stop = stopped.set_result
    entries.done("first", "do", None)
    async with asyncio.timeout(10):
        assert isinstance(await stopped, LeaseLost)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), WriteRefused("no"), None], ids=type)
async def test_a_write_is_not_tried_again_where_the_next_try_would_be_beyond_the_lease(error):
    tries = 0

    async def locked_or(write):
        nonlocal tries
        tries += 1
        if error is not None:
            raise error

    async with asyncio.timeout(10):
        with pytest.raises(LeaseLost if error is None else type(error)):
            await under_lease(0.05, locked_or).started("one", "do")
    assert tries == 1

"""The leases of one runtime: given up in time by its own event loop, whether or not the keeper's thread could renew."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from lease_builders import claimed

from sagaz_durable.leases.leases import Leases
from sagaz_integration_core.contract.records import Renewal
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


class Keeper:
    """What a runtime asks its keeper."""

    seconds, margin, renew_seconds, owner = 30.0, 2.0, 0.02, "here:1"

    def __init__(self, *, renews=True) -> None:
        self.renews, self.announced = renews, False
        self.holds, self.drops, self.told, self.asked = [], [], [], 0
        self.on_renewed = lambda: None

    def hold(self, lease):
        self.holds.append(lease)

    def drop(self, lease, calls=()):
        self.drops.append((lease, list(calls)))

    async def renewed(self):
        self.asked += 1
        self.on_renewed()

    def heartbeat(self):
        return 30.0, "worker", ["Order"]

    def announce(self, *values):
        self.told.append(("announce", *values))

    def withdraw(self, who):
        self.told.append(("withdraw", who))


class Store:
    def __init__(self) -> None:
        self.renewals, self.beats, self.error = [], [], None

    async def renew(self, owner, runs, seconds):
        self.renewals.append((owner, runs, seconds))
        if self.error is not None:
            raise self.error
        return Renewal({saga_id for saga_id, _ in runs}, set())

    async def heartbeat(self, *values):
        self.beats.append(values)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def leases(keeper, store, clock) -> Leases:
    return Leases(keeper, store, asyncio.get_running_loop(), SimpleNamespace(thread_id=0))


@asynccontextmanager
async def watched(leases):
    """Has leases looked after; the clock stands still meanwhile, and time does not."""
    task = asyncio.create_task(leases.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "nothing ended it before"


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_lease_is_as_long_as_the_keepers_and_its_run_is_told_on_this_loop(leases, keeper, clock, stopped):
    lease = leases.hold(claimed(), clock.time - 1, endless=False)
    assert lease.remaining == 27
    assert (leases.held, keeper.holds) == ({"run-1": lease}, [lease])
    assert leases.watch.thread_id == threading.get_ident()
    told = stopped(lease)
    lease.lose("why")
    assert told == [], "not in the midst of what calls it"
    await until(lambda: told)
    assert leases.hold(claimed("run-2"), clock.time, endless=True).remaining == math.inf


async def test_what_a_former_execution_drops_is_not_the_lease_of_the_later_one(leases, keeper, clock):
    former = leases.hold(claimed(), clock.time, endless=False)
    later = leases.hold(claimed(attempt=2), clock.time, endless=False)
    leases.drop(former, ["call"])
    assert leases.held == {"run-1": later}
    leases.drop(later)
    assert (leases.held, keeper.drops) == ({}, [(former, ["call"]), (later, [])])


@pytest.mark.parametrize("locked", [True, False])
async def test_a_lease_that_has_ended_is_given_up_after_the_keeper_was_asked_once_more(
    leases, keeper, clock, stopped, locked
):
    ended = leases.hold(claimed("ended"), clock.time, endless=False)
    going_on = leases.hold(claimed("going-on"), clock.time + 1, endless=False)
    ended.locked = locked
    told = stopped(ended)
    clock.time += 28
    async with watched(leases):
        await until(lambda: told)
    assert keeper.asked >= 1
    assert ended.lost
    assert (leases.held, going_on.lost) == ({"going-on": going_on}, False)
    assert ("another transaction has its row locked" in str(told[0])) is locked
    assert "could not be renewed in time; a worker resumes it." in str(told[0])


@pytest.mark.parametrize(
    ("lasts", "pause"), [(None, 5.0), (28.0, 5.0), (3.0, 3.0), (0.004, 0.01), (-60.0, 0.01)], ids=str
)
async def test_it_looks_twice_in_a_renewals_time_and_when_a_lease_ends(
    leases, keeper, clock, monkeypatch, lasts, pause
):
    class Sleeping:
        def __getattr__(self, name):
            return getattr(asyncio, name)

        async def sleep(self, seconds):
            assert seconds == pytest.approx(pause)
            raise EndOfTest

    class EndOfTest(Exception):
        pass

    keeper.renew_seconds = 10.0
    monkeypatch.setattr("sagaz_durable.leases.leases.asyncio", Sleeping())
    if lasts is not None:
        leases.hold(claimed(), clock.time - 28 + lasts, endless=False)
    with pytest.raises(EndOfTest):
        await leases.run()


async def test_a_lease_that_the_keeper_still_renews_is_kept(leases, keeper, clock):
    lease = leases.hold(claimed(), clock.time, endless=False)
    clock.time += 28
    keeper.on_renewed = lambda: lease.prolong(clock.time, 30)
    async with watched(leases):
        await until(lambda: keeper.asked)
        await asyncio.sleep(0.05)  # What is waited for is that nothing happens.
    assert (keeper.asked, lease.lost, leases.held) == (1, False, {"run-1": lease})


async def test_as_long_as_no_lease_ends_the_keeper_is_left_alone(leases, keeper, clock):
    leases.hold(claimed(), clock.time, endless=False)
    clock.time += 27
    async with watched(leases):
        await asyncio.sleep(0.05)  # What is waited for is that nothing happens.
    assert keeper.asked == 0


async def test_runs_that_nobody_else_can_see_are_renewed_by_the_runtimes_own_store(leases, keeper, store, clock):
    due = leases.hold(claimed("due", attempt=4), clock.time, endless=True)
    leases.hold(claimed("fresh"), clock.time + 0.01, endless=True)
    leases.hold(claimed("others"), clock.time, endless=False)
    await leases.renew_here()
    assert store.renewals == []
    clock.time += keeper.renew_seconds
    await leases.renew_here()
    assert store.renewals == [("here:1", [("due", 4)], 30.0)]
    assert due.taken_at == clock.time
    await leases.renew_here()
    assert len(store.renewals) == 1


async def test_it_tells_that_it_lives_where_the_keeper_does_not_and_no_more_often_than_leases_are_renewed(store, clock):
    keeper = Keeper(renews=False)
    leases = Leases(keeper, store, asyncio.get_running_loop(), SimpleNamespace(thread_id=0))
    await leases.renew_here()
    assert store.beats == [], "it has announced nothing"
    keeper.announced = True
    await leases.renew_here()
    await leases.renew_here()
    assert store.beats == [("here:1", 30.0, "worker", ["Order"])]
    clock.time += keeper.renew_seconds
    await leases.renew_here()
    assert len(store.beats) == 2
    await leases.withdrawn()
    assert store.beats[2:] == [("here:1", 0)]


async def test_a_keeper_that_renews_tells_by_itself_that_the_process_lives(leases, keeper, store):
    keeper.announced = True
    await leases.renew_here()
    await leases.withdrawn()
    assert (store.beats, keeper.asked) == ([], 1)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("ours")])
async def test_a_renewal_that_fails_is_tried_again_and_ends_nothing(leases, keeper, store, clock, caplog, error):
    lease = leases.hold(claimed(), clock.time, endless=True)
    store.error = error
    clock.time += 1
    async with watched(leases):
        await until(lambda: len(store.renewals) >= 3)
        store.error = None
        await until(lambda: lease.taken_at == clock.time)
    assert caplog.records[0].levelno == logging.ERROR


async def test_what_its_workers_announce_goes_to_the_keeper(leases, keeper):
    sagas = list
    leases.announce("w", "embedded", sagas)
    leases.withdraw("w")
    assert leases.owner == "here:1"
    assert keeper.told == [("announce", "w", "embedded", sagas), ("withdraw", "w")]

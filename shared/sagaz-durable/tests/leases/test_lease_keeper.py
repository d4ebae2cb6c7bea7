"""The thread that keeps the leases of a process: in one statement, in time, and whatever the store answers."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from concurrent.futures import Future

import pytest

from sagaz_durable.concurrency import process_id
from sagaz_durable.leases import keeper as keepers
from sagaz_durable.leases.keeper import LeaseKeeper
from sagaz_integration_core.contract.records import Renewal
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


class Store:
    """Notes what it is asked, and answers that all leases are held."""

    def __init__(self) -> None:
        self.asked, self.locked, self.error = [], set(), None
        self.asking = threading.Event()

    async def renew(self, owner, runs, seconds):
        self.asked.append(("renew", runs, seconds))
        self.asking.set()
        if self.error is not None:
            raise self.error
        return Renewal({saga_id for saga_id, _ in runs} - self.locked, self.locked)

    async def heartbeat(self, owner, *values):
        self.asked.append(("heartbeat", *values))
        if self.error is not None:
            raise self.error

    def taken(self):
        """What it was asked since this was asked last."""
        asked, self.asked = self.asked, []
        return asked


class Connection:
    def __init__(self, store) -> None:
        self.store, self.limits, self.closed, self.passes = store, [], False, lambda: None

    def call(self, work, seconds):
        self.limits.append(seconds)
        self.passes()
        with pytest.raises(StopIteration) as answer:
            work(self.store).send(None)
        return answer.value.value

    def close(self):
        self.closed = True


class Wake:
    """An event in whose waiting the clock goes on."""

    def __init__(self, clock) -> None:
        self.clock, self.waits, self.woken, self.late = clock, [], False, 0.0

    def set(self):
        self.woken = True

    def clear(self):
        self.woken = False

    def wait(self, seconds):
        self.waits.append(seconds)
        if not self.woken:
            self.clock.time += (seconds or 0.0) + self.late
        return self.woken


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def connection(store) -> Connection:
    return Connection(store)


@pytest.fixture
def new(connection, clock):
    """Makes a keeper; without ``thread``, a test is its thread itself: it sleeps while the clock goes on."""

    def new(*, connects=True, lease_seconds=30.0, renew_seconds=10.0, thread=False):
        opened.clear()
        connect = lambda: opened.append(1) or connection  # noqa: E731
        keeper = LeaseKeeper(
            connect if connects else None,
            lease_seconds=lease_seconds,
            renew_seconds=renew_seconds,
            step_limit=lambda saga, step: 60.0,
            backoff=float,
        )
        keeper.opened, keeper.started = opened, []
        if not thread:
            keeper._wake, keeper._start = Wake(clock), lambda: keeper.started.append(1)
        return keeper

    opened: list[int] = []
    return new


@pytest.fixture
def keeper(new) -> LeaseKeeper:
    return new()


class Runtime:
    """The leases of one."""

    def __init__(self, *leases) -> None:
        self.held = {lease.saga_id: lease for lease in leases}


# Whose it is.


def test_its_name_tells_machine_and_process_and_is_nobody_elses(new, monkeypatch):
    monkeypatch.setattr(process_id.socket, "gethostname", lambda: "h" * 70)
    one, other = new(), new()
    name, pid, secret = one.owner.rsplit(":", 2)
    assert (name, pid, len(secret)) == ("h" * 60, str(os.getpid()), 8)
    assert one.owner != other.owner


@pytest.mark.parametrize(("seconds", "margin"), [(30.0, 2.0), (20.0, 2.0), (5.0, 0.5)])
def test_a_lease_ends_here_a_tenth_before_it_does_in_the_store_at_most_two_seconds(new, seconds, margin):
    assert new(lease_seconds=seconds).margin == margin


def test_it_stays_as_long_as_a_runtime_uses_it(keeper, make):
    assert keeper.acquire()
    assert keeper.acquire()
    keeper._forget(Runtime())
    assert (keeper._closing, keeper._wake.woken) == (False, False)
    assert keeper.acquire()
    keeper._forget(Runtime())
    keeper._forget(Runtime())
    assert keeper._closing
    assert keeper._wake.woken, "its thread ends at once"
    assert not keeper.acquire()


def test_a_fork_has_none_of_its_leases(keeper, monkeypatch):
    assert not keeper.is_inherited
    monkeypatch.setattr(keepers, "current_pid", lambda: os.getpid() + 1)
    assert keeper.is_inherited
    assert not keeper.acquire()


def test_a_runtime_whose_loop_will_not_turn_again_holds_nothing_any_more(keeper, make):
    keeper.acquire()
    lease = make()
    leases = Runtime(lease)
    keeper.add(leases)
    keeper.hold(lease)
    keeper.abandon(leases)
    assert not keeper._held
    assert (keeper._runtimes, keeper._closing) == (set(), True)


class Busy:
    """Keeps the thread from its end until a test lets it go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def look(self, passed, runtimes):
        self.entered.set()
        self.go.wait(10)


async def test_the_last_runtimes_end_waits_for_the_thread_and_no_others_does(new):
    keeper = new(thread=True)
    keeper.loops = busy = Busy()
    keeper.acquire()
    keeper.acquire()
    keeper.announce("w", "worker", lambda: ["Order"])
    await asyncio.to_thread(busy.entered.wait, 10)
    async with asyncio.timeout(8):
        await keeper.release(Runtime())
    ending = asyncio.create_task(keeper.release(Runtime()))
    await asyncio.wait([ending], timeout=0.05)
    assert not ending.done()
    busy.go.set()
    async with asyncio.timeout(20):
        await ending
    assert keeper._ended.done()
    thread = keeper._thread
    keeper.announce("w", "worker", lambda: ["Order"])
    assert keeper._thread is thread, "none is started any more"


async def test_a_thread_that_hangs_is_not_waited_for_without_end(new, monkeypatch):
    monkeypatch.setattr(keepers, "_CLOSE_SECONDS", 0.05)
    keeper = new(thread=True)
    keeper.loops = busy = Busy()
    keeper.acquire()
    keeper.announce("w", "worker", lambda: ["Order"])
    await asyncio.to_thread(busy.entered.wait, 10)
    async with asyncio.timeout(5):
        await keeper.release(Runtime())
    assert not keeper._ended.done()
    busy.go.set()
    keeper._thread.join(10)


def test_no_thread_is_started_when_all_runtimes_have_ended(new):
    keeper = new(thread=True)
    keeper.acquire()
    keeper._forget(Runtime())
    keeper.announce("w", "worker", lambda: ["Order"])
    assert keeper._thread is None


async def test_a_runtime_that_never_held_a_lease_waits_for_no_thread(keeper):
    keeper.acquire()
    async with asyncio.timeout(1):
        await keeper.release(Runtime())


# When it starts.


@pytest.mark.parametrize(
    ("connects", "endless", "starts"), [(True, False, 1), (True, True, 0), (False, True, 1), (False, False, 1)]
)
def test_the_first_lease_that_is_to_be_looked_after_starts_the_thread(new, make, connects, endless, starts):
    keeper = new(connects=connects)
    keeper.hold(make(endless=endless))
    assert len(keeper.started) == starts
    assert keeper._held


def test_a_lease_wakes_the_thread_only_when_it_sleeps(keeper, make):
    keeper._thread = object()
    keeper.hold(make("a"))
    assert keeper.started == []
    keeper._asleep = True
    keeper.hold(make("b"))
    assert len(keeper.started) == 1


# What it renews.


def test_leases_that_are_due_are_renewed_with_the_others_in_one_statement_and_it_tells_that_it_lives(
    keeper, make, store, clock, connection
):
    old = make("old", 3)
    keeper.hold(old)
    clock.time += 4
    young = make("young")
    keeper.hold(young)
    clock.time += 5.9
    keeper._renew_when_due()
    assert (store.taken(), keeper.is_connected) == ([], False)
    clock.time += 0.1
    keeper._renew_when_due()
    assert store.taken() == [
        ("heartbeat", 30.0, "web", []), ("renew", [("old", 3), ("young", 1)], 30.0),
    ]  # fmt: skip
    assert (old.taken_at, young.taken_at, keeper.opened) == (clock.time, clock.time, [1])
    assert connection.limits == [5.0, 5.0]
    keeper._renew_when_due()
    assert store.taken() == []


def test_a_renewal_counts_from_before_the_store_was_asked(keeper, make, connection, clock):
    lease = make()
    keeper.hold(lease)
    clock.time += 10
    sent_at = clock.time

    def passes():
        clock.time += 3

    connection.passes = passes
    keeper._renew_when_due()
    assert lease.taken_at == sent_at + 3, "the heartbeat was before it"
    assert keeper._renewed_at == sent_at


@pytest.mark.parametrize(("lease_seconds", "limit"), [(30.0, 5.0), (9.0, 3.0), (1.5, 1.0)])
def test_the_store_has_a_third_of_a_lease_to_answer_between_one_and_five_seconds(new, connection, lease_seconds, limit):
    new(lease_seconds=lease_seconds).ask(lambda store: store.heartbeat("x"))
    assert connection.limits == [limit]


def test_what_nobody_else_can_see_is_not_renewed_by_the_thread(new, make, store, clock, caplog):
    keeper = new(connects=False)
    keeper.hold(make())
    clock.time += 20
    keeper._renew_when_due()
    assert (store.taken(), caplog.records) == ([], [])
    assert not keeper.renews
    with pytest.raises(StoreUnavailable, match="seen by nobody else"):
        keeper.ask(lambda store: store.heartbeat("x"))


def test_leases_that_do_not_end_are_left_out(keeper, make, store, clock):
    keeper.hold(make("endless", endless=True))
    clock.time += 20
    keeper._renew_when_due()
    assert store.taken() == []


def test_a_locked_row_is_tried_again_at_each_look_and_no_heartbeat_with_it(keeper, make, store, clock):
    lease = make()
    keeper.hold(lease)
    store.locked = {"run-1"}
    clock.time += 10
    keeper._renew_when_due()
    assert [asked[0] for asked in store.taken()] == ["heartbeat", "renew"]
    keeper._held._leases["other"] = make("other")
    lease.taken_at = clock.time
    keeper._renew_when_due()
    assert [asked[0] for asked in store.taken()] == ["renew"]
    store.locked = set()
    keeper._renew_when_due()
    store.taken()
    keeper._renew_when_due()
    assert store.taken() == []


def test_a_store_that_is_unreachable_is_asked_again_at_the_next_look(keeper, make, store, clock, caplog):
    lease = make()
    keeper.hold(lease)
    store.error = StoreUnavailable("away")
    clock.time += 10
    keeper._renew_when_due()
    assert "The heartbeat was not noted" in caplog.text
    assert "1 leases could not be renewed" in caplog.text
    assert not lease.lost
    store.error = None
    store.taken()
    keeper._renew_when_due()
    assert [asked[0] for asked in store.taken()] == ["heartbeat", "renew"]


async def test_whoever_asks_for_a_renewal_gets_one_that_is_not_due_yet(keeper, make, store):
    keeper.margin = 10.0
    keeper.hold(make())
    waiting = [asyncio.create_task(keeper.renewed()) for _ in range(2)]
    await asyncio.sleep(0)
    assert len(keeper.started) == 3, "each wakes the thread"
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    keeper._renew_when_due()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert [asked[0] for asked in store.taken()] == ["renew"]
    keeper._renew_when_due()
    assert store.taken() == []


async def test_whoever_asks_for_a_renewal_does_not_wait_longer_than_a_margin(new):
    keeper = new(lease_seconds=0.5)
    async with asyncio.timeout(5):
        await keeper.renewed()


def test_whoever_does_not_wait_any_more_for_a_renewal_does_no_harm(keeper, make, store):
    keeper.hold(make())
    keeper._asked_to_renew = Future()
    keeper._asked_to_renew.set_result(None)
    keeper._renew_when_due()
    assert [asked[0] for asked in store.taken()] == ["renew"]


async def test_a_thread_that_sleeps_without_a_lease_is_woken_by_who_asks(new, make, store, monkeypatch):
    monkeypatch.setattr(keepers, "now", time.monotonic)
    keeper = new(thread=True, lease_seconds=0.3, renew_seconds=0.02)
    keeper.margin = 60.0
    keeper.acquire()
    lease = make()
    keeper.hold(lease)
    keeper.drop(lease)
    async with asyncio.timeout(10):
        while not keeper._asleep:
            await asyncio.sleep(0.01)
        await keeper.renewed()
    await keeper.release(Runtime())
    assert keeper._ended.done()


async def test_whoever_asks_for_a_renewal_is_answered_where_there_is_none(new, make):
    keeper = new(connects=False)
    keeper.margin = 60.0
    waiting = asyncio.create_task(keeper.renewed())
    await asyncio.sleep(0)
    keeper._renew_when_due()
    await asyncio.wait_for(waiting, 5)


# That the process lives.


def test_a_process_that_claims_runs_tells_so_from_the_first_look_on_and_when_it_stops(keeper, store, clock):
    assert not keeper.announced
    keeper.announce("w", "worker", lambda: ["Pay", "Order"])
    assert keeper.announced
    assert keeper.started == [1]
    keeper._renew_when_due()
    assert store.taken() == [("heartbeat", 30.0, "worker", ["Order", "Pay"])]
    clock.time += 9.9
    keeper._renew_when_due()
    assert store.taken() == []
    clock.time += 0.1
    keeper._renew_when_due()
    assert len(store.taken()) == 1
    keeper.announce("b", "embedded", lambda: ["Ship"])
    keeper._renew_when_due()
    assert store.taken() == [("heartbeat", 30.0, "worker", ["Order", "Pay", "Ship"])]
    keeper.withdraw("b")
    keeper.withdraw("w")
    assert keeper._wake.woken
    keeper._renew_when_due()
    assert store.taken() == [("heartbeat", 0.0, "web", [])]
    clock.time += 60
    keeper._renew_when_due()
    assert store.taken() == [], "it has been taken back, and nothing is to be told any more"


def test_a_process_lives_as_long_as_it_holds_a_lease(keeper, make):
    assert keeper.heartbeat() == (0.0, "web", [])
    lease = make()
    keeper.hold(lease)
    assert keeper.heartbeat() == (30.0, "web", [])
    keeper.drop(lease)
    assert keeper.heartbeat() == (0.0, "web", [])


def test_calls_that_go_on_in_threads_are_known_to_whoever_holds_the_run_next(keeper, make):
    lease, call = make(), Future()
    keeper.hold(lease)
    keeper.drop(lease, [call])
    again = make(attempt=2)
    keeper.hold(again)
    assert not again.after.done()


@pytest.mark.parametrize("error", [None, StoreUnavailable("away"), RuntimeError("ours")])
def test_a_connection_is_closed_and_the_heartbeat_taken_back_whatever_the_store_says(
    keeper, make, store, connection, clock, error
):
    keeper.hold(make())
    clock.time += 10
    keeper._renew_when_due()
    store.taken()
    store.error = error
    keeper._disconnect()
    assert store.taken() == [("heartbeat", 0)]
    assert (connection.closed, keeper.is_connected, keeper._beating) == (True, False, False)
    keeper._disconnect()
    assert store.taken() == []


def test_no_heartbeat_is_taken_back_that_nobody_has_sent(keeper, store, connection):
    keeper.ask(lambda store: store.renew("x", [], 1))
    store.taken()
    keeper._disconnect()
    assert (store.taken(), connection.closed) == ([], True)


# How it sleeps.


def test_it_looks_twice_a_second_or_more_often_when_leases_are_short(new):
    keeper = new()
    assert keeper._wait(0) == 0.5
    short = new(renew_seconds=0.5)
    assert short._wait(0) == 0.25
    assert not keeper._asleep


@pytest.mark.parametrize(("announced", "pause"), [(True, 5.0), (False, None)])
def test_without_a_lease_it_sleeps_until_there_is_one(keeper, announced, pause):
    if announced:
        keeper.announce("w", "worker", list)
    slept = []
    wait = keeper._wake.wait
    keeper._wake.wait = lambda seconds: slept.append(keeper._asleep) or wait(seconds)
    keeper._wait(4)
    assert slept == [False]
    keeper._wait(5)
    assert slept == [False, True]
    assert keeper._wake.waits == [0.5, pause]
    assert not keeper._asleep


def test_a_lease_that_was_taken_while_it_went_to_sleep_is_seen(keeper, make):
    keeper.hold(make())
    keeper._wait(5)
    assert keeper._wake.waits == [0.0]


@pytest.mark.parametrize("holds", [True, False])
def test_time_in_which_the_whole_process_stood_still_is_no_event_loops_fault(keeper, make, caplog, holds):
    if holds:
        keeper.hold(make())
    keeper._wake.late = 1.5
    assert keeper._wait(0) == 0.0
    assert ("This process stood still for 1.5 s" in caplog.text) is holds
    caplog.clear()
    keeper._wake.late = 1.0
    assert keeper._wait(0) == 1.5, "as long as it takes a busy machine to wake a thread"
    assert caplog.text == ""
    keeper._wake.late = 9.0
    keeper._wake.woken = True
    assert keeper._wait(0) == 0.0
    assert not keeper._wake.woken


def test_a_thread_that_was_woken_late_was_not_standing_still(keeper, clock, caplog):
    def wait(seconds):
        clock.time += 7
        return True

    keeper._wake.wait = wait
    assert keeper._wait(0) == 7
    assert caplog.text == ""


class Looks:
    """Ends the keeper's thread after some looks."""

    def __init__(self, keeper, looks, each=lambda n: None) -> None:
        self.keeper, self.looks, self.each, self.seen = keeper, looks, each, []

    def look(self, passed, runtimes):
        self.seen.append((passed, set(runtimes)))
        self.each(len(self.seen))
        if len(self.seen) == self.looks:
            self.keeper._closing = True


def test_its_thread_renews_looks_at_the_event_loops_and_disconnects_at_its_end(keeper, make, store, connection, clock):
    lease = make()
    leases = Runtime()
    keeper.add(leases)
    keeper.hold(lease)
    keeper.loops = Looks(keeper, 25)
    keeper._work()
    assert keeper.loops.seen == [(0.5, {leases})] * 25
    assert [asked[0] for asked in store.taken()] == ["heartbeat", "renew", "heartbeat"]
    assert connection.closed
    assert keeper._ended.done()


def test_its_thread_disconnects_after_some_looks_without_a_lease(keeper, make, store, connection, clock):
    lease = make()
    keeper.hold(lease)

    connected = []

    def each(n):
        if n == 21:
            keeper.drop(lease)
        connected.append(keeper.is_connected)

    keeper.loops = Looks(keeper, 26, each)
    keeper._work()
    assert connected[20:] == [True] * 5 + [False]
    assert keeper._wake.waits[-2:] == [0.5, None]


def test_a_thread_that_finds_no_lease_looks_a_few_times_before_it_sleeps(keeper):
    keeper.loops = Looks(keeper, 6)
    keeper._work()
    assert keeper._wake.waits == [0.5] * 4 + [None] * 2


def test_its_thread_stays_connected_while_the_process_claims_runs(keeper, store, connection):
    keeper.announce("w", "worker", lambda: ["Order"])
    states = []
    keeper.loops = Looks(keeper, 12, lambda n: states.append(keeper.is_connected))
    keeper._work()
    assert all(states)
    assert keeper._wake.waits[-1] == 5.0
    assert connection.closed


def test_a_lease_begins_the_counting_of_looks_anew(keeper, make, store):
    leases = [make("a"), make("b")]

    def each(n):
        if n == 3:
            keeper.hold(leases[0])
        if n == 4:
            keeper.drop(leases[0])

    keeper.loops = Looks(keeper, 8, each)
    keeper._work()
    assert None not in keeper._wake.waits


def test_its_thread_is_one_and_lets_the_process_end(new, store, make, caplog):
    caplog.set_level(logging.DEBUG)
    keeper = new(lease_seconds=0.3, renew_seconds=0.05, thread=True)
    keeper.acquire()
    keeper.announce("w", "worker", lambda: ["Order"])
    thread = keeper._thread
    assert thread.daemon
    keeper.announce("b", "worker", lambda: ["Order"])
    assert keeper._thread is thread
    keeper._forget(Runtime())
    thread.join(10)
    assert not thread.is_alive()
    assert store.asked[-1] == ("heartbeat", 0)
    assert math.isfinite(keeper._renewed_at)

"""An event loop that a step keeps from turning: who is named, when it is given up, and who is charged."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from sagaz_durable.leases.blocked_loops import BlockedLoops
from sagaz_durable.leases.loop_watch import Holder, LoopWatch
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


class Loop:
    """An event loop that turns when a test says so."""

    def __init__(self) -> None:
        self.calls, self.closed = [], False

    def call_soon_threadsafe(self, call):
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def watch(loop) -> LoopWatch:
    return LoopWatch(loop)


# Whether a loop turns.


def test_a_loop_that_turns_between_two_looks_never_stands_still(watch, loop):
    for _ in range(3):
        assert watch.look(0.5, []) is None
        loop.turn()
    assert watch.seconds == 0


def test_a_loop_stands_still_from_the_first_question_that_it_has_not_answered(watch, loop):
    watch.look(9.0, [])
    assert watch.seconds == 0, "it has only been asked"
    watch.look(0.5, [])
    watch.look(0.25, [])
    assert watch.seconds == 0.75
    assert len(loop.calls) == 1, "it is not asked again while it has not answered"
    loop.turn()
    watch.given_up = "why"
    assert watch.look(0.5, []) == 0.75
    assert (watch.seconds, watch.given_up) == (0.0, None)
    loop.turn()
    assert watch.look(0.5, []) is None


def test_a_loop_that_is_closed_is_asked_in_vain(watch, loop):
    loop.closed = True
    assert watch.look(0.5, []) is None


def test_a_loop_that_nobody_has_looked_at_for_a_while_begins_anew(watch, loop):
    watch.look(0.5, [])
    watch.forget()
    watch.look(60.0, [])
    assert watch.seconds == 0
    watch.look(0.5, [])
    watch.forget()
    watch.look(0.5, [])
    assert watch.seconds == 1.0, "one that stands still is not forgotten"


def test_of_a_loop_that_nobody_has_looked_at_nothing_is_to_be_told(watch):
    assert (watch.seconds, watch.told, watch.given_up, str(watch.holder)) == (0, False, None, "code outside of sagas")
    assert watch.place() == "its thread has ended"


# What it stands still for.


@pytest.mark.parametrize(
    ("task", "holder"),
    [
        ("sagaz:run-1:pay", "step 'pay' of saga 'Order' (run run-1)"),
        ("sagaz:run-1:pay:undo", "the compensation of step 'pay' of saga 'Order' (run run-1)"),
        ("sagaz:run-2:pay", "code outside of sagas"),
        ("sagaz:run-11:pay", "code outside of sagas"),
        ("a request", "code outside of sagas"),
    ],
)
async def test_the_step_whose_task_is_on_the_loop_is_named(make, task, holder):
    watch = LoopWatch(asyncio.get_running_loop())
    asyncio.current_task().set_name(task)
    lease = make()
    watch.look(0.5, [make("run-0"), lease])
    watch.look(0.5, [make("run-0"), lease])
    assert (str(watch.holder), watch.seconds, watch.holder.plain) == (holder, 0.5, False)
    assert watch.holder.lease is (lease if "run-1)" in holder else None)


def test_a_plain_step_that_has_the_loops_own_thread_is_named_and_other_waiting_is_not_counted(make, loop):
    standing = ("run-1", "pay")
    watch = LoopWatch(loop, lambda: standing)
    lease = make()
    watch.look(0.5, [lease])
    watch.look(0.5, [make("run-0"), lease])
    assert (watch.holder, watch.seconds) == (Holder(lease, "pay", plain=True), 0.5)
    standing = ("", "")
    watch.look(0.5, [lease])
    assert watch.seconds == 0.5
    standing = None
    watch.look(0.5, [lease])
    assert (str(watch.holder), watch.seconds) == ("code outside of sagas", 1.0)


def test_where_the_loops_thread_is_is_told_with_its_code_and_its_stack(watch):
    entered, leave = threading.Event(), threading.Event()

    def blocks():
        entered.set()
        leave.wait(10)

    thread = threading.Thread(target=blocks)
    thread.start()
    entered.wait(10)
    watch.thread_id = thread.ident
    assert "threading.py:" in watch.place()
    assert ", in wait: " in watch.place()
    assert "leave.wait(10)" in watch.stack()
    leave.set()
    thread.join()
    assert watch.place() == "its thread has ended"
    assert watch.stack() == "its thread has ended\n"


# What becomes of its runs.


class Keeper:
    owner = "here:1"

    def __init__(self) -> None:
        self.renews, self.writes, self.error = True, [], None

    def ask(self, work):
        if self.error is not None:
            raise self.error
        work(self)

    def write(self, writes):
        self.writes += writes


class Leases:
    """Those of one loop, with a watch that says what a test wants."""

    def __init__(self, *held) -> None:
        self.held = {lease.saga_id: lease for lease in held}
        self.watch = self
        self.holder, self.seconds, self.told, self.given_up, self.ended = Holder(), 0.0, False, None, None
        self.looks, self.forgotten = [], 0

    def look(self, passed, leases):
        self.looks.append((passed, list(leases)))
        return self.ended

    def forget(self):
        self.forgotten += 1

    def place(self):
        return "shop.py:7, in pay"

    def stack(self):
        return "the stack"


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def limits():
    return {}


@pytest.fixture
def loops(keeper, limits) -> BlockedLoops:
    return BlockedLoops(keeper, 30.0, lambda saga, step: limits.setdefault((saga, step), 60.0), lambda n: 10.0 * n)


@pytest.fixture(autouse=True)
def all_levels(caplog):
    caplog.set_level(logging.DEBUG)


def test_loops_with_runs_are_looked_at_and_those_without_are_forgotten(loops, make):
    busy, idle = Leases(make()), Leases()
    loops.look(0.5, [idle, busy])
    assert (busy.looks, busy.forgotten) == ([(0.5, [busy.held["run-1"]])], 0)
    assert (idle.looks, idle.forgotten) == ([], 1)
    idle.seconds = 2.0
    loops.look(0.5, [idle])
    assert (idle.looks, idle.forgotten) == ([(0.5, [])], 1), "it is waited for until it turns"


def test_a_blocked_loop_is_told_once_after_a_second_with_step_place_and_remedy_and_when_it_turns(loops, make, caplog):
    lease = make()
    leases = Leases(lease)
    leases.holder, leases.seconds = Holder(lease, "pay"), 0.9
    loops.look(0.5, [leases])
    assert caplog.records == []
    leases.seconds = 1.0
    loops.look(0.5, [leases])
    loops.look(0.5, [leases])
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "Step 'pay' of saga 'Order' (run run-1) blocks the event loop, for 1.0 s by now, at shop.py:7, in pay. Nothing"
    )
    assert "Make it a plain `def` step" in record.getMessage()
    leases.ended, leases.seconds = 4.0, 0.0
    loops.look(0.5, [leases])
    loops.look(0.5, [leases])
    assert caplog.messages[1:] == [
        "The event loop turns again: step 'pay' of saga 'Order' (run run-1) had blocked it for 4.0 s."
    ]


def test_a_loop_that_was_not_told_of_turns_again_in_silence(loops, make, caplog):
    leases = Leases(make())
    leases.ended = 0.4
    loops.look(0.5, [leases])
    assert caplog.records == []


def test_a_plain_step_on_its_callers_loop_is_told_of_only_when_it_is_given_up(loops, make, caplog):
    lease = make()
    leases = Leases(lease)
    leases.holder, leases.seconds = Holder(lease, "pay", plain=True), 89.0
    loops.look(0.5, [leases])
    assert (caplog.records, leases.given_up) == ([], None)
    leases.seconds = 91.0
    loops.look(0.5, [leases])
    assert "Step 'pay' of saga 'Order' (run run-1) has not returned for 91 s, longer than" in caplog.text
    assert "Make it a plain" not in caplog.text


def test_a_loop_is_given_up_once_after_the_steps_own_limit_and_a_lease(loops, keeper, make, limits, stopped, caplog):
    guilty, neighbour = make("run-1", 3, failures=1), make("run-2", 2)
    told, reasons = stopped(neighbour), []
    loops.on_given_up = reasons.append
    leases = Leases(neighbour, guilty)
    leases.told = True
    leases.holder, leases.seconds = Holder(guilty, "pay"), 100.0
    limits["Order", "pay"] = 70.0
    loops.look(0.5, [leases])
    assert (keeper.writes, guilty.lost) == ([], False)
    leases.seconds = 100.5
    loops.look(0.5, [leases])
    loops.look(0.5, [leases])
    why = "step 'pay' of saga 'Order' (run run-1) has blocked the event loop for 100 s"
    assert (reasons, leases.given_up) == ([why], why)
    assert guilty.lost
    assert neighbour.lost
    assert why in str(told[0])
    releases = {(one.saga_id, one.owner, one.attempt): one.release for one in keeper.writes}
    assert len(keeper.writes) == 2
    charged, free = releases["run-1", "here:1", 3], releases["run-2", "here:1", 2]
    assert (charged.failed, charged.delay, charged.detail) == (True, 20.0, why)
    assert (free.failed, free.delay, free.detail) == (False, 0.0, why)
    [record] = caplog.records
    assert record.levelno == logging.CRITICAL
    assert "gives up all 2 runs on that loop" in record.getMessage()
    assert "the stack" in record.getMessage()
    assert "Make it a plain `def` step" in record.getMessage()


def test_a_loop_that_no_step_blocks_is_given_up_too_and_nobody_is_charged(loops, keeper, make, limits):
    leases = Leases(make())
    leases.seconds = 91.0
    loops.look(0.5, [leases])
    assert limits == {("", ""): 60.0}
    [write] = keeper.writes
    assert (write.release.failed, write.release.delay) == (False, 0.0)


@pytest.mark.parametrize("why", ["nobody else sees the runs", "one run does not end"])
def test_a_loop_whose_runs_nobody_else_could_take_is_not_given_up(loops, keeper, make, why):
    keeper.renews = why != "nobody else sees the runs"
    lease = make("run-2")
    leases = Leases(lease, make("run-1", endless=why == "one run does not end"))
    leases.seconds = 1000.0
    loops.look(0.5, [leases])
    assert (keeper.writes, lease.lost, leases.given_up) == ([], False, None)


def test_runs_that_cannot_be_given_back_are_lost_all_the_same(loops, keeper, make, caplog):
    lease, reasons = make(), []
    loops.on_given_up = reasons.append
    leases = Leases(lease)
    leases.seconds = 91.0
    keeper.error = StoreUnavailable("away")
    loops.look(0.5, [leases])
    assert lease.lost
    assert len(reasons) == 1
    assert "could not be given back, and are resumed when their leases end: away" in caplog.text


def test_nobody_needs_to_listen_when_a_loop_is_given_up(loops, keeper, make):
    leases = Leases(make())
    leases.seconds = 91.0
    loops.look(0.5, [leases])
    assert len(keeper.writes) == 1

"""Two executions of one run never go on at once in a process, nor beside what an earlier one left in its threads."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from sagaz_durable.leases.announcements import Announcements
from sagaz_durable.leases.held import Held


@pytest.fixture
def held() -> Held:
    return Held()


def test_what_is_held_is_renewed_unless_it_does_not_end_or_is_lost(held, make):
    assert not held
    kept, endless, lost = make("a"), make("b", endless=True), make("c")
    for lease in (kept, endless, lost):
        held.add(lease)
    lost.lose("why")
    assert held
    assert held.renewable() == [kept]
    for lease in (kept, endless, lost):
        held.drop(lease)
    assert not held
    assert held.renewable() == []


def test_a_locked_row_is_known(held, make):
    one, other = make("a"), make("b")
    held.add(one)
    held.add(other)
    assert not held.any_locked()
    other.locked = True
    assert held.any_locked()


def test_a_run_alone_waits_for_nothing(held, make):
    lease = make()
    held.add(lease)
    held.drop(lease)
    again = make(attempt=2)
    held.add(again)
    assert (lease.after, lease.ended, again.after, again.ended) == (None, None, None, None)


def test_a_later_execution_stops_the_former_one_and_waits_until_it_has_ended(held, make, stopped):
    former, later = make(), make(attempt=2)
    told = stopped(former)
    held.add(former)
    held.add(later)
    assert "claimed it anew" in str(told[0])
    assert (former.lost, later.lost, later.after.done()) == (True, False, False)
    assert held.renewable() == [later]
    held.drop(former)
    assert later.after.done()
    assert held.renewable() == [later], "the end of the former one takes nothing from the later one"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_it_waits_for_the_calls_that_the_former_one_left_in_threads_too(held, make, order):
    former, later, calls = make(), make(attempt=2), [Future(), Future()]
    held.add(former)
    held.add(later)
    held.drop(former, calls)
    calls[order[0]].set_result(None)
    assert not later.after.done()
    calls[order[1]].set_result(None)
    assert later.after.done()


def test_calls_that_were_left_in_threads_are_waited_for_by_whoever_comes_later(held, make):
    former, call, over = make(), Future(), Future()
    over.set_result(None)
    held.add(former)
    held.drop(former, [call, over])
    later = make(attempt=2)
    held.add(later)
    assert not later.after.done()
    call.set_result(None)
    assert later.after.done()
    held.drop(later)
    last = make(attempt=3)
    held.add(last)
    assert last.after is None, "nothing of it goes on any more"


def test_calls_that_are_over_are_waited_for_by_nobody(held, make):
    lease, over = make(), Future()
    over.set_result(None)
    held.add(lease)
    held.drop(lease, [over])
    again = make(attempt=2)
    held.add(again)
    assert again.after is None


def test_a_third_execution_waits_for_what_the_second_one_still_waits_for(held, make):
    first, call = make(), Future()
    held.add(first)
    held.drop(first, [call])
    second = make(attempt=2)
    held.add(second)
    held.drop(second)
    third = make(attempt=3)
    held.add(third)
    assert not third.after.done()
    call.set_result(None)
    assert third.after.done()
    held.drop(third)
    fourth = make(attempt=4)
    held.add(fourth)
    assert fourth.after is None


def test_a_process_lives_as_the_most_that_its_workers_are_and_knows_what_all_of_them_know():
    announced = Announcements()
    assert (bool(announced), announced.kind, announced.sagas) == (False, "web", [])
    announced.add("a", "embedded", lambda: ["Pay", "Order"])
    assert (bool(announced), announced.kind, announced.sagas) == (True, "embedded", ["Order", "Pay"])
    announced.add("b", "worker", lambda: ["Order", "Ship"])
    assert (announced.kind, announced.sagas) == ("worker", ["Order", "Pay", "Ship"])
    announced.remove("b")
    announced.remove("b")
    assert (announced.kind, announced.sagas) == ("embedded", ["Order", "Pay"])

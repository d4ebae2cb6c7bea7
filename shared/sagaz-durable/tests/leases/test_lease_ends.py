"""Until when a run is this process's, and what it is told when it is not any more."""

from __future__ import annotations

import asyncio
import math

import pytest
from lease_builders import claimed

from sagaz_durable.leases.lease import Lease
from sagaz_integration_core.contract.records import Renewal
from sagaz_integration_core.errors import LeaseLost

HELD, LOCKED, GONE = Renewal({"run-1"}, set()), Renewal(set(), {"run-1"}), Renewal(set(), set())


def test_a_lease_ends_its_margin_before_the_store_lets_others_have_the_run(clock):
    lease = Lease(claimed(), clock.time, 30.0, 2.0)
    assert (lease.saga_id, lease.attempt, lease.remaining) == ("run-1", 1, 28.0)
    assert (lease.lost, lease.locked, lease.after, lease.ended) == (False, False, None, None)
    clock.time += 28
    assert lease.remaining == 0


def test_a_run_that_nobody_else_can_see_is_kept_without_end(make, clock):
    lease = make(endless=True)
    clock.time += 1e9
    assert lease.remaining == math.inf
    lease.answered(HELD, clock.time, 30)
    assert lease.remaining == math.inf
    lease.lose("why")
    assert lease.remaining == -math.inf


def test_a_renewal_counts_from_when_it_was_sent_and_a_late_answer_to_an_older_one_takes_nothing_back(make, clock):
    lease = make()
    clock.time += 10
    lease.answered(HELD, clock.time - 1, 30)
    assert lease.remaining == 27
    lease.answered(HELD, clock.time - 5, 30)
    assert lease.remaining == 27
    assert lease.taken_at == clock.time - 1


def test_a_lost_lease_tells_its_run_at_once_why(make, stopped):
    lease = make(attempt=3)
    told = stopped(lease)
    lease.lose("it is another's.")
    assert lease.lost
    assert lease.remaining == -math.inf
    assert [(type(error), str(error)) for error in told] == [(LeaseLost, "Run run-1 (attempt 3): it is another's.")]


def test_a_lost_lease_of_a_run_that_does_not_listen_is_lost_all_the_same(make):
    lease = make()
    lease.lose("why")
    assert lease.remaining == -math.inf


@pytest.mark.anyio
async def test_a_run_is_told_on_its_own_event_loop(make, stopped):
    lease = make(loop=asyncio.get_running_loop())
    told = stopped(lease)
    await asyncio.to_thread(lease.lose, "why")
    await asyncio.sleep(0)
    assert len(told) == 1


def test_nobody_is_told_when_the_runs_event_loop_is_closed(make, stopped):
    loop = asyncio.new_event_loop()
    loop.close()
    lease = make(loop=loop)
    told = stopped(lease)
    lease.lose("why")
    assert (lease.lost, told) == (True, [])


def test_a_renewal_that_finds_the_row_locked_neither_prolongs_nor_loses_the_lease(make, stopped, clock):
    lease = make()
    told = stopped(lease)
    clock.time += 10
    lease.answered(LOCKED, clock.time, 30)
    assert (lease.locked, lease.lost, lease.remaining, told) == (True, False, 18, [])
    lease.answered(HELD, clock.time, 30)
    assert (lease.locked, lease.remaining) == (False, 28)


def test_a_renewal_that_says_lost_is_told_to_the_run_once(make, stopped, clock):
    lease = make()
    told = stopped(lease)
    lease.answered(GONE, clock.time, 30)
    lease.answered(GONE, clock.time, 30)
    assert lease.lost
    assert ["another process has taken it over" in str(error) for error in told] == [True]


def test_a_run_that_this_process_has_claimed_anew_is_not_told_again(make, stopped, clock):
    lease = make()
    lease.ended = object()
    told = stopped(lease)
    lease.answered(GONE, clock.time, 30)
    assert (lease.lost, told) == (False, [])

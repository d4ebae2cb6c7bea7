"""A worker claims few runs at a time while many wake up and new ones come, and many otherwise."""

from __future__ import annotations

import pytest

from sagaz_durable.workers import claim_size
from sagaz_durable.workers.claim_size import ClaimSize
from sagaz_integration_core.contract.records import ClaimedRun


@pytest.fixture
def clock(monkeypatch):
    times = [1000.0]
    monkeypatch.setattr(claim_size, "now", lambda: times[0])
    return times


def runs(new: int = 0, woken: int = 0) -> list[ClaimedRun]:
    return [
        ClaimedRun(f"r{n}", "Order", "executing", "{}", None, None, 1 if n < new else 2, 0) for n in range(new + woken)
    ]


@pytest.mark.parametrize(
    "found", [[runs(25)], [runs(woken=25)], [runs(13, 12)], [runs(25), runs(12, 12)], [runs(1), []], []]
)
def test_many_are_claimed_where_new_runs_come_or_others_wake_up_alone(clock, found):
    size = ClaimSize(25)
    for one in found:
        size.claimed(one)
    assert size.next == 25


def test_few_are_claimed_while_many_wake_up_and_a_new_run_came_a_moment_ago(clock):
    size = ClaimSize(25)
    size.claimed(runs(12, 13))
    assert size.next == 10
    size.claimed(runs(0, 5))
    clock[0] += 0.9
    assert size.next == 10
    clock[0] += 0.2
    assert size.next == 25
    size.claimed(runs(1))
    assert size.next == 25
    size.claimed(runs(0, 1))
    assert size.next == 10


def test_a_claim_is_never_for_fewer_than_ten():
    assert ClaimSize(2).next == 10

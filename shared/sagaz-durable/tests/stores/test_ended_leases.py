"""What is made of a lease that ended without a release, before any store does it."""

from __future__ import annotations

import pytest

from sagaz_durable.stores import ended_leases
from sagaz_durable.stores.ended_leases import jitter, most_alone, released, under_way, verdict
from sagaz_integration_core.contract.records import Release


@pytest.mark.parametrize(
    ("lives", "company", "expected"),
    [(True, True, "lost"), (True, False, "lost"), (False, True, "suspects"), (False, False, "charged")],
)
def test_only_who_died_with_one_run_alone_is_charged_for_it(lives, company, expected):
    assert verdict(lives=lives, company=company) == expected


def test_half_of_the_workers_but_always_one_may_execute_a_suspect():
    assert [most_alone(workers) for workers in range(7)] == [1, 1, 1, 1, 2, 2, 3]


def test_suspects_come_back_apart_within_a_lease(monkeypatch):
    monkeypatch.setattr(ended_leases.random, "uniform", lambda low, high: (low, high))
    assert jitter(30.0) == (0, 30.0)


def test_how_an_attempt_ended_and_what_was_under_way_is_told():
    assert (released(Release()), released(Release(failed=True))) == ("released", "halted")
    assert under_way([("pay", "do"), ("ship", "undo")]) == "pay, undo of ship"
    assert under_way([]) is None

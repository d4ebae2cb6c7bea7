"""What a claim takes where the oldest run that is due has waited."""

from __future__ import annotations

import pytest

from sagaz_durable.stores import wanted_runs
from sagaz_durable.stores.wanted_runs import beside_woken, half_of


@pytest.mark.parametrize(
    ("limit", "half", "young", "taken"),
    [
        (4, 2, ["y1", "y2"], ["y1", "y2", "o1", "o2"]),
        (5, 3, ["y1", "y2"], ["y1", "y2", "o1", "o2", "o3"]),
        (4, 2, ["y1"], ["y1", "o1", "o2"]),
        (4, 2, [], ["o1", "o2"]),
        (2, 1, [], ["o1"]),
        (1, 0, [], ["o1"]),
        (1, 0, ["y1"], ["y1"]),
        (4, 2, ["o3", "o2"], ["o3", "o2", "o1", "o4"]),
    ],
)
def test_the_youngest_come_first_and_the_oldest_have_half_and_one_at_least(limit, half, young, taken):
    assert beside_woken(["o1", "o2", "o3", "o4"], young, limit, half) == taken


@pytest.mark.parametrize(("limit", "halves"), [(0, {0}), (1, {0, 1}), (4, {2}), (5, {2, 3})])
def test_half_of_what_is_odd_is_rounded_by_chance(limit, halves, monkeypatch):
    found = set()
    for bit in (0, 1):
        monkeypatch.setattr(wanted_runs.random, "getrandbits", {1: bit}.__getitem__)
        found.add(half_of(limit))
    assert found == halves

"""The waits of one call, as they are counted, and what is said of those that are not right."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sagaz_durable.calls.waits import CallLeft, CallWaits, RunWaits
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.errors import UsageError


@pytest.fixture
def waits():
    """Those of a call of a `def` step, where no event loop runs."""
    waits = CallWaits(("a", "do"), {})
    waits.open = True
    return waits


def test_waits_are_counted_from_nought_by_their_names(waits):
    for name in ("paid", "shipped", "paid", "paid"):
        with pytest.raises(CallLeft):
            waits.signal(name, None, None)
    with pytest.raises(CallLeft):
        waits.sleep(1.0, None)
    assert [(wait.name, wait.n) for wait in waits.new] == [
        ("paid", 0), ("shipped", 0), ("paid", 1), ("paid", 2), ("", 0),
    ]  # fmt: skip


def test_a_sleep_that_was_not_told_how_long_is_told_of_both_ways(waits):
    with pytest.raises(UsageError, match="sleep_until or sleep"):
        waits.sleep(None, None)
    with pytest.raises(UsageError) as error:
        waits.sleep("long", None)
    assert "sleep_until" not in str(error.value)


def waited(outcome=None, attempt=None, step="a", n=0):
    return WaitRecord("run-1", step, "do", "paid", n, None, None, datetime(2020, 1, 1, tzinfo=UTC), outcome, attempt)


@pytest.mark.parametrize(
    ("waits", "over"),
    [
        ([waited("signal", 3), waited(n=1)], True),
        ([waited("signal", 2), waited(n=1)], False),
        ([waited(n=1)], False),
        ([waited(n=1), waited("signal", 3, step="b")], False),
        ([waited("signal", 1), waited("timeout", 2, n=1)], True),
        ([], True),
    ],
)
def test_a_call_goes_on_when_a_wait_of_its_own_has_ended_since_or_none_is_open(waits, over):
    assert RunWaits(SimpleNamespace(waits=waits)).is_over(("a", "do"), 2) is over

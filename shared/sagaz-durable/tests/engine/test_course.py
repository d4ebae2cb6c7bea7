"""Which way a run goes, and until when it may go forward."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sagaz_durable.engine.course import Course, was_overdue
from sagaz_durable.engine.journal.known_entries import TURNED, Entry, KnownEntries
from sagaz_integration_core.contract.records import ClaimedRun

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


GRAPH = SimpleNamespace(nodes={"pay": SimpleNamespace(pivot=True)})


def course(*done, direction="forward", deadline_in=60.0):
    run = ClaimedRun(
        "run-1", "Order", "executing", "{}", None, None, 1, 0, direction=direction, deadline_in=deadline_in
    )
    entries = {(step, "do"): Entry("done", None, None, 1, False) for step in done}
    return Course(run, GRAPH, SimpleNamespace(all=entries))


async def test_what_goes_forward_before_its_pivot_is_limited_by_its_deadline_and_nothing_else_is():
    limited = course()
    assert limited.shorten(1000.0) <= 60.0
    assert (limited.shorten(1.0), limited.is_over()) == (1.0, False)
    for unlimited in (course("pay"), course(direction="back"), course(deadline_in=None)):
        assert unlimited.shorten(1000.0) == 1000.0


async def test_nothing_is_called_forward_once_the_run_has_turned_back_or_is_to():
    assert course(deadline_in=-1.0).is_over()
    assert not course("pay", deadline_in=-1.0).is_over()
    turned = course()
    assert turned.turn("ship", ValueError("no"), "ValueError: no") == "step 'ship': ValueError: no"
    assert turned.is_over()


def test_a_decision_at_the_deadline_keeps_what_a_step_has_said_as_it_was_said():
    late = course(deadline_in=-1.0)
    assert late.turn("Pay", ValueError("No"), "ValueError: No") == (
        "The run's deadline has passed. Step 'Pay': ValueError: No"
    )
    assert late.turn("Ship", ValueError("no"), "ValueError: no") is None


@pytest.mark.parametrize("left", [60.0, 0.05])
async def test_a_pause_before_a_further_try_ends_with_the_way_forward(left):
    paused = course(deadline_in=left)
    pausing = asyncio.create_task(paused.pause(3600.0))
    if left == 60.0:
        await asyncio.wait([pausing], timeout=0.01)
        paused.turn("ship", ValueError("no"), "ValueError: no")
    async with asyncio.timeout(20):
        await pausing
    await course().pause(0.0)


async def test_behind_a_pivot_no_deadline_is_heeded_and_before_it_nothing_is_left_of_one():
    late, pivoted = course(deadline_in=-1.0), course("pay", deadline_in=-1.0)
    assert (late.is_overdue, pivoted.is_overdue) == (True, False)
    assert (late.deadline.at_most(10.0), course().deadline.at_most(0.5)) == (0.0, 0.5)


def test_after_a_restart_what_was_not_called_is_no_reason_why_the_run_has_failed():
    run = ClaimedRun(
        "run-1", "Order", "compensating", "{}", "step 'ship': ValueError: no", None, 2, 0, direction="back"
    )
    entries = KnownEntries(run)
    entries._entries[("a", "do")] = Entry("failed", None, TURNED, 1, False)
    entries._entries[("ship", "do")] = Entry("failed", None, "ValueError: no", 1, False)
    assert Course(run, GRAPH, entries).message == "no"
    late = replace(run, error="The run's deadline has passed.")
    assert Course(late, GRAPH, entries).message == "The run's deadline has passed."


def test_a_run_that_rolled_back_without_a_decision_was_not_overdue():
    assert not was_overdue(None)
    assert not was_overdue("step 'pay': no money")
    assert was_overdue("The run's deadline has passed. Step 'pay': no money")

"""The tasks of a run's calls: who is told of an end, who looks again, and what is cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest

from sagaz_durable.engine import call_tasks
from sagaz_durable.engine.call_tasks import CallTasks

PAY, SHIP = ("pay", "do"), ("ship", "do")


class Calls:
    """Calls that end when they are let go on, and what became of them."""

    def __init__(self, *, followed=False):
        self.followed = followed
        self.tasks = CallTasks("the run", lambda: self.followed)
        self.go, self.said = asyncio.Event(), []

    def begin(self, call):
        self.tasks.begin(call, self._work(call))

    async def _work(self, call):
        self.said.append(f"{call[0]} begins")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.said.append(f"{call[0]} is cancelled")
            raise
        finally:
            self.tasks.ended(call)

    async def look(self):
        """Have somebody wait; return the task of that."""
        looking = asyncio.create_task(self.tasks.wait())
        await asyncio.sleep(0)
        return looking


@pytest.fixture
async def calls():
    calls = Calls()
    yield calls
    calls.tasks.cancel()
    await calls.tasks.end()


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_is_to_look_again_looks_once_and_waits_then(calls):
    calls.tasks.go_on()
    await calls.tasks.wait()
    looking = await calls.look()
    await turns()
    assert (looking.done(), calls.tasks.is_awaited) == (False, True)
    calls.tasks.go_on()
    assert not calls.tasks.is_awaited, "he was told"
    await looking


async def test_who_is_told_twice_before_he_looks_looks_once(calls):
    looking = await calls.look()
    calls.tasks.go_on()
    calls.tasks.go_on()
    await looking
    looking = await calls.look()
    await turns()
    assert not looking.done()
    calls.tasks.go_on()
    await looking


async def test_the_end_of_a_call_that_is_followed_wakes_nobody(calls):
    calls.followed = True
    calls.begin(PAY)
    looking = await calls.look()
    calls.go.set()
    await turns()
    assert (list(calls.tasks.calls), looking.done()) == ([], False)
    calls.tasks.go_on()
    await looking


@pytest.mark.parametrize("closed", [False, True])
async def test_the_end_of_a_call_that_nobody_follows_wakes_who_waits(calls, closed):
    calls.begin(PAY)
    calls.followed = closed
    if closed:
        calls.tasks.close()
    looking = await calls.look()
    calls.go.set()
    await looking
    assert list(calls.tasks.calls) == []


async def test_all_calls_are_cancelled_and_those_that_are_begun_later_too(calls, monkeypatch):
    monkeypatch.setattr(call_tasks, "_AGAIN_SECONDS", 60)
    calls.begin(PAY)
    await turns()
    calls.tasks.cancel()
    calls.begin(SHIP)
    async with asyncio.timeout(20):
        await calls.tasks.end()
    assert list(calls.tasks.calls) == []
    assert "pay is cancelled" in calls.said
    # One that has not had its first turn is never entered.
    assert ("ship begins" in calls.said) == ("ship is cancelled" in calls.said)


async def test_what_one_call_sets_in_its_context_no_other_one_sees(calls):
    variable = contextvars.ContextVar("variable", default="nothing")
    seen = []

    async def work(call):
        seen.append(variable.get())
        variable.set(call[0])
        calls.tasks.ended(call)

    for call in (PAY, SHIP):
        calls.tasks.begin(call, work(call))
        await turns()
    assert seen == ["nothing", "nothing"]
    assert variable.get() == "nothing"


async def test_a_call_has_its_first_turn_at_once_where_python_can_do_that_and_the_loop_makes_its_tasks_itself(calls):
    at_once = ["pay begins"] if sys.version_info >= (3, 12) else []
    calls.begin(PAY)
    assert calls.said == at_once
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, work, **options: asyncio.Task(work, loop=loop, **options))
    try:
        calls.begin(SHIP)
        assert calls.said == at_once
        await turns()
        assert calls.said == ["pay begins", "ship begins"]
    finally:
        loop.set_task_factory(None)

"""What a transactional call makes of its tries: done again, given up, committed after all, or refused at once."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from types import SimpleNamespace

import pytest

from sagaz_durable.calls import transactional
from sagaz_durable.calls.limits import NO_LIMITS
from sagaz_durable.calls.thread_call import Outcome
from sagaz_durable.calls.transactional import TransactionalCall
from sagaz_durable.calls.transactional_calls import TransactionalCalls
from sagaz_durable.calls.transactional_tries import ThreadTry, _to_its_end
from sagaz_integration_core.contract.records import RunWrite, StepWrite
from sagaz_integration_core.errors import (
    SagaDefinitionError,
    StepError,
    StoreUnavailable,
    UnstorableValue,
    WriteRefused,
)

pytestmark = pytest.mark.anyio

AGAIN = StoreUnavailable("The server went away.")
REFUSED = sqlite3.IntegrityError("UNIQUE constraint failed")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def pauses(monkeypatch):
    """How long was waited before each further try."""
    noted: list[float] = []

    async def sleep(seconds):
        noted.append(seconds)

    monkeypatch.setattr(transactional, "asyncio", SimpleNamespace(sleep=sleep))
    return noted


class Tries:
    """Makes tries, each of which becomes what it was given for it; the last one all further ones."""

    def __init__(self, *became):
        self.made, self._became = [], list(became)

    async def call(self, step, one, context, timeout, limits):
        self.made.append(one)
        became = self._became.pop(0) if len(self._became) > 1 else self._became[0]
        for name, value in became.items():
            setattr(one, name, value)
        return Outcome("outcome")


def call_of(*, lacks=None, remaining=math.inf, recorded=False, patience=math.inf):
    async def is_recorded(write):
        return recorded

    transactions = SimpleNamespace(lacks=lambda *, is_async: lacks)
    lease = SimpleNamespace(remaining=remaining)
    return TransactionalCall("Step 'charge'", transactions, None, lease, None, is_recorded, patience)


async def tried(call, tries):
    given = SimpleNamespace(context={})
    return await call.tried(tries, "charge", lambda ctx: None, lambda: given, 60.0, NO_LIMITS)


async def test_a_step_that_no_transaction_can_be_around_is_refused_and_not_called():
    tries = Tries({})
    with pytest.raises(SagaDefinitionError, match=r"Step 'charge' is transactional, and the store is in memory\."):
        await tried(call_of(lacks="the store is in memory"), tries)
    assert tries.made == []


async def test_a_try_that_the_database_was_in_the_way_of_is_made_again_a_little_later_each_time(pauses):
    tries = Tries(*[{"refused": AGAIN}] * 7, {"committed": True, "value": 7, "kept": "kept", "write": "write"})
    call = call_of()
    assert await tried(call, tries) == Outcome(7)
    assert (call.kept, call.write) == ("kept", "write")
    assert pauses == [0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0]


async def test_what_the_database_refuses_otherwise_is_raised_and_not_tried_again(pauses):
    with pytest.raises(sqlite3.IntegrityError):
        await tried(call_of(), Tries({"refused": REFUSED}))
    assert pauses == []


async def test_a_call_is_given_up_when_patience_is_over(pauses):
    with pytest.raises(StoreUnavailable):
        await tried(call_of(patience=-1.0), Tries({"refused": AGAIN}))
    assert pauses == []


async def test_a_call_is_not_made_again_when_the_lease_would_end_before(pauses):
    tries = Tries({"refused": AGAIN})
    with pytest.raises(StoreUnavailable):
        await tried(call_of(remaining=0.15, patience=2.0), tries)
    assert pauses == [0.05, 0.1]


async def test_a_conflict_that_the_function_meets_is_its_own_failure_after_ten_more_tries(pauses):
    tries = Tries({"refused": AGAIN, "own": True})
    assert await tried(call_of(), tries) == Outcome(error=AGAIN)
    assert (len(tries.made), len(pauses)) == (11, 10)


async def test_what_the_database_refuses_of_the_function_is_its_own_failure_at_once(pauses):
    assert await tried(call_of(), Tries({"refused": REFUSED, "own": True})) == Outcome(error=REFUSED)
    assert pauses == []


async def test_a_function_that_has_failed_by_itself_is_in_doubt_only_if_it_has_committed_something(pauses):
    assert await tried(call_of(), Tries({})) == Outcome("outcome")
    assert await tried(call_of(), Tries({"in_doubt": True})) == Outcome("outcome", interrupted=True)


async def test_a_commit_without_an_answer_counts_if_the_journal_has_it(pauses):
    unanswered = {"commit_error": AGAIN, "write": "write", "value": 7}
    call = call_of(recorded=True)
    assert await tried(call, Tries(unanswered)) == Outcome(7)
    assert call.write == "write"
    again = Tries(unanswered, {"commit_error": None, "committed": True, "value": 8})
    assert await tried(call_of(), again) == Outcome(8)
    assert len(again.made) == 2


async def test_a_commit_without_a_write_is_in_no_journal(pauses):
    with pytest.raises(StoreUnavailable):
        await tried(call_of(recorded=True, patience=-1.0), Tries({"commit_error": AGAIN}))


@pytest.mark.parametrize(("error", "own"), [(AGAIN, False), (REFUSED, True)])
def test_what_a_database_checks_at_the_commit_the_step_has_done_and_a_lost_connection_it_has_not(error, own):
    one = ThreadTry(call_of(), lambda ctx: None, SimpleNamespace(context={}))
    one.commit_error = error
    one.settled(recorded=False)
    assert (one.refused, one.own, one.committed) == (error, own, False)


def recording(result):
    one = ThreadTry(call_of(), lambda ctx: None, SimpleNamespace(context={}))
    one.write = RunWrite("run-1", "w1", 1, steps=(StepWrite("charge", "do", "done", result),))
    return one


def test_a_result_that_no_try_can_store_is_the_step_s_mistake_and_told_with_its_place():
    with pytest.raises(StepError, match=r"this database can never store, probably at note\.$"):
        recording('{"note": "\U0001f600"}')._not_recorded(UnstorableValue("never"))
    with pytest.raises(StepError, match=r"this database can never store\.$"):
        recording(None)._not_recorded(UnstorableValue("never"))


def test_a_journal_that_cannot_be_reached_or_is_refused_is_not_the_step_s_own_failure():
    for error, refused in ((AGAIN, StoreUnavailable), (REFUSED, WriteRefused)):
        one = recording(None)
        one._not_recorded(error)
        assert (type(one.refused), one.own) == (refused, False)


async def test_what_is_awaited_to_its_end_ends_before_its_task_is_cancelled():
    gone_on, may_end = asyncio.Event(), asyncio.Event()

    async def work():
        await may_end.wait()
        gone_on.set()

    task = asyncio.create_task(_to_its_end(work()))
    await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert gone_on.is_set()


async def test_what_is_awaited_to_its_end_gives_its_result_or_its_error():
    async def work(error=None):
        if error:
            raise error
        return 7

    assert await _to_its_end(work()) == 7
    with pytest.raises(ValueError, match="no truck"):
        await _to_its_end(work(ValueError("no truck")))


def calls_of(effect, undo_effect):
    node = SimpleNamespace(effect=effect, undo_effect=undo_effect, compensated=True)
    prepared = SimpleNamespace(graph=SimpleNamespace(nodes={"charge": node}))
    environment = SimpleNamespace(transactions=None, store=None)
    return TransactionalCalls(prepared, environment, None, SimpleNamespace(patience=5.0), None)


def test_a_step_and_its_compensation_are_transactional_each_for_itself():
    assert calls_of(None, "transactional").of("charge", "do") is None
    assert calls_of("transactional", None).of("charge", "undo") is None
    both = calls_of("transactional", "transactional")
    assert both.of("charge", "do").what == "Step 'charge'"
    assert both.of("charge", "undo").what == "The compensation of step 'charge'"


async def test_a_compensation_that_was_not_awaited_is_not_recorded():
    async def refund():
        """It is never awaited."""

    with pytest.raises(StepError, match="The compensation of step 'charge'"):
        calls_of(None, "transactional").of("charge", "undo").make(refund(), None)

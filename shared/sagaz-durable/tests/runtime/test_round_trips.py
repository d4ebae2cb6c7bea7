"""What a start and a run cost in round trips: numbers that are the same on every machine, and shall stay what they are.

On PostgreSQL each statement of a store is a round trip and a transaction; on SQLite what counts are commits.
"""

from __future__ import annotations

import asyncio
import sqlite3

import psycopg
import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.concurrency import held_writes
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step


class ThreeSteps(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        return {"reservation": 1}

    @compensate("reserve")
    async def release(self, ctx):
        pass

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx):
        return {"charge": 2}

    @compensate("charge")
    async def refund(self, ctx):
        pass

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        if ctx.get("fails"):
            raise ValueError("no parcel")
        return {"parcel": 3}


class ThreeStepsThatWait(ThreeSteps):
    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx):
        await (current_step().signal("paid", key="pi_1") if ctx["signal"] else current_step().sleep(0.01))
        return {"charge": 2}


class Sent:
    """What was sent to a database since the last look: one text for each transaction."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._transactions: list[str] = []

    def to_postgres(self, statement):
        """Each of a store's statements is a transaction of its own."""
        self._transactions.append(statement.decode() if isinstance(statement, bytes) else str(statement))

    def to_sqlite(self, statement):
        self._open.append(statement)
        if statement == "COMMIT":
            self._transactions.append(" ".join(self._open))
        if statement in ("COMMIT", "ROLLBACK"):
            self._open.clear()

    def about_runs(self) -> list[str]:
        """Return those that have to do with runs and their steps; SQLite's that only read cost no commit."""
        sent, self._transactions = self._transactions, []
        about = [text for text in sent if "sagaz_run" in text or "sagaz_step" in text]
        return [text for text in about if not text.startswith("BEGIN ") or "INSERT" in text or "UPDATE" in text]


@pytest.fixture
def sent(monkeypatch):
    sent = Sent()

    def counting(method):
        def execute(self, query, *args, **kwargs):
            sent.to_postgres(query)
            return method(self, query, *args, **kwargs)

        return execute

    for cursor in (psycopg.AsyncCursor, psycopg.Cursor):
        monkeypatch.setattr(cursor, "execute", counting(cursor.execute))

    def connect(*args, **kwargs):
        connection = original(*args, **kwargs)
        connection.set_trace_callback(sent.to_sqlite)
        return connection

    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    # The end of a step waits for the beginning of the next one, and a slow machine does not make it wait in vain.
    monkeypatch.setattr(held_writes, "_SECONDS", 60)
    return sent


@pytest.fixture
async def runtime(shared_settings, sent, opened):
    async with opened(shared_settings, sagas=[ThreeSteps, ThreeStepsThatWait]) as runtime:
        sent.about_runs()
        yield runtime


async def test_a_start_is_one_round_trip(runtime, sent):
    await Sagas(runtime).start(ThreeSteps, {"order_id": "A1"})
    assert len(sent.about_runs()) == 1


async def test_a_start_with_a_new_key_is_one_round_trip_and_with_a_known_one_two(runtime, sent):
    first = await Sagas(runtime).start(ThreeSteps, {"order_id": "A1"}, idempotency_key="k")
    assert len(sent.about_runs()) == 1
    assert await Sagas(runtime).start(ThreeSteps, {"order_id": "A1"}, idempotency_key="k") == first
    assert len(sent.about_runs()) <= 2


async def test_a_thousand_starts_are_one_round_trip(runtime, sent):
    await Sagas(runtime).start_many(ThreeSteps, [{"order_id": n} for n in range(1000)])
    assert len(sent.about_runs()) == 1


async def test_a_start_in_a_callers_transaction_is_one_statement(opened, postgres_url, sent):
    from sagaz_durable.settings.settings import Settings

    async with (
        opened(Settings(storage_url=postgres_url, migrate=True), sagas=[ThreeSteps]) as runtime,
        await psycopg.AsyncConnection.connect(postgres_url) as connection,
    ):
        await Sagas(runtime).start(ThreeSteps, {"order_id": "A1"}, session=connection)
        sent.about_runs()
        await Sagas(runtime).start(ThreeSteps, {"order_id": "A2"}, session=connection)
        assert len(sent.about_runs()) == 1


async def test_an_inline_run_of_three_steps_is_an_insert_and_three_writes(runtime, sent):
    await Sagas(runtime).run(ThreeSteps, {"order_id": "A1"})
    assert len(sent.about_runs()) == 1 + 3


async def test_a_rolled_back_run_writes_once_for_each_step_failure_and_compensation(runtime, sent):
    with pytest.raises(ValueError, match="no parcel"):
        await Sagas(runtime).run(ThreeSteps, {"fails": True})
    # The insert, with which the first step begins; two more begin, and the last one fails; two compensations begin,
    # and the end.
    assert len(sent.about_runs()) == 1 + 2 + 1 + 2 + 1


async def test_fifty_runs_of_three_steps_are_one_claim_and_three_batches(runtime, sent, monkeypatch):
    monkeypatch.setattr(type(runtime.store), "claim_portions", 1)
    # The claim, with which the first steps begin, and what follows. On PostgreSQL claims that find nothing are
    # statements like any other: while the ends are written, when they are, and the last one, which ends the drain.
    empty = 3 if runtime.store.kind == "postgres" else 0
    assert await fifty_runs_take(runtime, sent, 1 + 3 + empty)


async def test_fifty_runs_on_a_server_are_two_claims_and_three_batches_each(runtime, sent):
    portions = runtime.store.claim_portions
    # After each half that has ended, a claim finds nothing; and the last one of all ends the drain.
    empty = 3 if runtime.store.kind == "postgres" else 0
    assert await fifty_runs_take(runtime, sent, portions * (1 + 3) + empty)


async def fifty_runs_take(runtime, sent, most):
    # On a machine that is busy with others' work, a run may miss the batch of its neighbours, and needs one more.
    for _ in range(20):
        if (count := await statements_of_fifty_runs(runtime, sent)) <= most:
            return True
    raise AssertionError(f"{count} statements in the last of 20 times")


async def statements_of_fifty_runs(runtime, sent):
    await Sagas(runtime).start_many(ThreeSteps, [{"order_id": n} for n in range(50)])
    sent.about_runs()
    worker = runtime.make_worker(concurrency=50, drain=True)
    async with asyncio.timeout(20):
        await worker.run()
    assert worker.ended == {"completed": 50}
    return len([text for text in sent.about_runs() if "sagaz_step" in text])


@pytest.mark.parametrize("signal", [True, False])
async def test_a_wait_is_one_write_and_a_claim_that_brings_its_journal(runtime, sent, signal):
    # On a machine that is busy with others' work, a run may need one more.
    whole = min([await statements_of_one(runtime, sent) for _ in range(5)])
    count = min([await statements_of_one_that_waits(runtime, sent, signal, str(n)) for n in range(5)])
    # The write that parks: that the call goes on is journaled by the claim, which returns the journal, too.
    assert count == whole + 1


async def statements_of_one(runtime, sent):
    saga_id = await Sagas(runtime).start(ThreeSteps, {})
    return await statements_until(runtime, sent, saga_id, "completed")


async def statements_of_one_that_waits(runtime, sent, signal, signal_id):
    saga_id = await Sagas(runtime).start(ThreeStepsThatWait, {"signal": signal})
    count = 0
    if signal:
        count = await statements_until(runtime, sent, saga_id, "waiting")
        await Sagas(runtime).send_signal("paid", key="pi_1", signal_id=signal_id)
        assert len(sent.about_runs()) == 1
    return count + await statements_until(runtime, sent, saga_id, "completed")


async def statements_until(runtime, sent, saga_id, status):
    """Work until a run has this status; return what that took besides claims, some of which find nothing."""
    sent.about_runs()
    async with asyncio.timeout(20):
        while (await runtime.store.load(saga_id)).status != status:
            await runtime.make_worker(drain=True).run()
    return len([text for text in sent.about_runs() if "sagaz_step" in text and "leased_at = " not in text])

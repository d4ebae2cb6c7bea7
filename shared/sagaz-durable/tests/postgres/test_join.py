"""Runs that join a transaction: they exist if and only if its own rows do, whatever connection it belongs to."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from transactions import KINDS, POSTGRES, SQLITE, counted, transaction

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.joining import joining
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.transactions.statements import Joining
from sagaz_integration_core.contract.events import EventFilter, NewEvent
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import Inserted, NewRun
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter
from sagaz_integration_core.errors import TransactionRequired

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}


@dataclass
class Place:
    """A store, and the address under which the tests' own connections find its database."""

    store: Any
    url: str
    joining: Joining

    async def runs(self) -> set[str]:
        return {run.saga_id for run in await self.store.find(RunFilter(limit=2000))}

    async def signals(self) -> list[str]:
        return [signal.id for signal in await self.store.find_signals(SignalFilter())]

    async def orders(self) -> list[str]:
        if self.joining.database == "sqlite":
            with sqlite3.connect(self.url) as connection:
                rows = connection.execute("SELECT name FROM orders").fetchall()
            connection.close()
            return [row[0] for row in rows]
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            return [row[0] for row in await (await connection.execute("SELECT name FROM orders")).fetchall()]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if kind in SQLITE:
        path = tmp_path / "sagaz.db"
        sqlite_store = SQLiteStore(ConnectionThread(path))
        await sqlite_store.open()
        yield Place(sqlite_store, str(path), joining(str(path), await sqlite_store.store_id()))
        await sqlite_store.close()
    else:
        url = request.getfixturevalue("postgres_url")
        store = create_store(Settings(storage_url=url, migrate=True))
        await store.open()
        yield Place(store, url, store.joining)
        await store.close()


def new(saga_id: str | None = None, **values: Any) -> NewRun:
    return NewRun(saga_id or str(uuid4()), "OrderSaga", values.pop("context", '{"n": 1}'), "f1", **values)


async def test_a_run_is_committed_with_the_rows_of_its_transaction(kind, place):
    run = new(context='{"name": "Zo\u00eb \\"x\\" \\\\ 50% $1 :a ?"}', correlation_id="c-1")
    async with transaction(kind, place.url) as tx:
        await tx.order("book")
        assert await tx.start(place, run) == [Inserted(run.saga_id, True, "f1")]
        await tx.commit()
    assert await place.orders() == ["book"]
    (claimed,) = await place.store.claim("w1", 10, 30, KNOWN)
    assert (claimed.saga_id, claimed.saga_name, claimed.correlation_id) == (run.saga_id, "OrderSaga", "c-1")
    assert (claimed.context, claimed.attempt, claimed.failures) == (run.context, 1, 0)


async def test_a_rollback_leaves_neither(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.order("book")
        await tx.start(place, new())
        await tx.rollback()
    assert (await place.orders(), await place.runs()) == ([], set())


async def test_a_savepoint_takes_its_runs_with_it(kind, place):
    outer, inner = new(), new()
    async with transaction(kind, place.url) as tx:
        await tx.order("kept")
        await tx.start(place, outer)
        await tx.savepoint()
        await tx.order("undone")
        await tx.start(place, inner)
        await tx.rollback_to_savepoint()
        await tx.commit()
    assert (await place.orders(), await place.runs()) == (["kept"], {outer.saga_id})


async def test_nobody_sees_a_run_before_the_commit(kind, place):
    run = new()
    async with transaction(kind, place.url) as tx:
        await tx.start(place, run)
        assert await place.store.load(run.saga_id) is None
        assert kind in SQLITE or await place.store.claim("w1", 10, 30, KNOWN) == []
        await tx.commit()
    assert [claimed.saga_id for claimed in await place.store.claim("w1", 10, 30, KNOWN)] == [run.saga_id]


async def test_events_are_committed_with_the_rows_of_their_transaction_in_their_order(kind, place):
    events = [NewEvent(f"e{n}", "orders-1", "orders.placed", '{"name": "Zo\u00eb 50% $1 :a ?"}') for n in (2, 1, 3)]
    async with transaction(kind, place.url) as tx:
        await tx.order("book")
        assert await tx.publish(place, *events) == [True, True, True]
        await tx.commit()
    found = await place.store.find_events(EventFilter())
    assert [event.event_id for event in found] == ["e2", "e1", "e3"]
    assert {(event.saga_id, event.topic, event.status, event.attempts) for event in found} == {
        ("orders-1", "orders.placed", "pending", 0)
    }
    assert json.loads(found[0].payload) == {"name": "Zo\u00eb 50% $1 :a ?"}
    async with transaction(kind, place.url) as tx:
        assert await tx.publish(place, events[0], NewEvent("e4", "orders-1", "orders.placed", "{}")) == [False, True]
        await tx.rollback()
    assert (await place.orders(), await place.store.count_events(EventFilter())) == (["book"], 3)


async def test_a_savepoint_takes_its_events_with_it(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.order("kept")
        await tx.publish(place, NewEvent("outer", "k", "t", "{}"))
        await tx.savepoint()
        await tx.publish(place, NewEvent("inner", "k", "t", "{}"))
        await tx.rollback_to_savepoint()
        await tx.commit()
    assert [event.event_id for event in await place.store.find_events(EventFilter())] == ["outer"]


def signal(signal_id: str, payload: str = "{}") -> NewSignal:
    return NewSignal(f"id-{signal_id}", "paid", None, "pi_1", signal_id, payload, "f1")


async def test_a_signal_is_committed_with_the_rows_of_its_transaction(kind, place):
    sent = signal("a", '{"name": "Zo\u00eb \\"x\\" \\\\ 50% $1 :a ?"}')
    async with transaction(kind, place.url) as tx:
        await tx.order("book")
        assert await tx.signal(place, sent) == [Sent(True, "f1")]
        assert await place.signals() == []
        await tx.commit()
    [kept] = await place.store.find_signals(SignalFilter())
    assert (await place.orders(), json.loads(kept.payload)) == (["book"], json.loads(sent.payload))
    async with transaction(kind, place.url) as tx:
        assert await tx.signal(place, sent) == [Sent(False, "f1")]
        await tx.commit()


async def test_a_rollback_leaves_no_signal(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.order("book")
        await tx.signal(place, signal("a"))
        await tx.rollback()
    assert (await place.orders(), await place.signals()) == ([], [])


async def test_a_savepoint_takes_its_signals_with_it(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.order("kept")
        await tx.signal(place, signal("outer"))
        await tx.savepoint()
        await tx.signal(place, signal("inner"))
        await tx.rollback_to_savepoint()
        await tx.commit()
    assert (await place.orders(), await place.signals()) == (["kept"], ["id-outer"])


async def test_a_persons_signal_is_noted_in_the_audit_with_the_transaction_once(kind, place):
    run = new()
    await place.store.insert([run], 30)
    asked = NewSignal("s1", "approval", run.saga_id, None, "", '{"a": "Zo\u00eb 50% $1 :a ?"}', "f", "mia", "50% $1 ?")
    plain = NewSignal("s2", "paid", run.saga_id, None, "", "{}", "f")
    async with transaction(kind, place.url) as tx:
        assert [one.created for one in await tx.signal(place, asked, plain)] == [True, True]
        await tx.rollback()
    assert await place.store.load_audit(run.saga_id) == []
    async with transaction(kind, place.url) as tx:
        assert [one.created for one in await tx.signal(place, asked, plain)] == [True, True]
        assert [one.created for one in await tx.signal(place, asked)] == [False]
        await tx.commit()
    [note] = await place.store.load_audit(run.saga_id)
    assert (note.action, note.actor, note.reason, note.found) == ("signal", "mia", "50% $1 ?", "pending")
    assert await place.store.count_untaken() == 2


def key(id_: str = "k1", fingerprint: str = "f", owner: str | None = None) -> NewKey:
    return NewKey(id_, fingerprint, "run-1", owner, 30.0, 86_400.0)


async def test_a_requests_key_and_answer_are_committed_with_the_rows_of_its_transaction(kind, place):
    answer = '{"body": "50% $1 :a ?"}'
    async with transaction(kind, place.url) as tx:
        assert await tx.claim_key(place, key()) == KeyClaim(True, saga_id="run-1")
        await tx.order("book")
        assert await tx.answer_key(place, "k1", answer) is True
        assert await place.store.find_key("k1") is None
        await tx.commit()
    assert await place.orders() == ["book"]
    async with transaction(kind, place.url) as tx:
        assert await tx.claim_key(place, key()) == KeyClaim(False, False, "f", "run-1", answer)
        assert (await tx.claim_key(place, key(fingerprint="g"))).fingerprint == "f"
        assert await tx.answer_key(place, "k1", "another") is False
        await tx.rollback()


async def test_a_rollback_frees_a_requests_key(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.claim_key(place, key())
        await tx.order("book")
        await tx.answer_key(place, "k1", "{}")
        await tx.rollback()
    assert (await place.orders(), await place.store.find_key("k1")) == ([], None)
    async with transaction(kind, place.url) as tx:
        assert (await tx.claim_key(place, key(fingerprint="g"))).claimed
        await tx.rollback()


async def test_a_key_that_was_committed_without_an_answer_is_resumed(kind, place):
    async with transaction(kind, place.url) as tx:
        await tx.claim_key(place, key())
        await tx.commit()
    async with transaction(kind, place.url) as tx:
        assert await tx.claim_key(place, key()) == KeyClaim(True, True, saga_id="run-1")
        assert await tx.answer_key(place, "k1", "{}") is True
        await tx.commit()
    assert (await place.store.find_key("k1")).answer == "{}"


@pytest.mark.parametrize("kind", POSTGRES)
async def test_a_key_that_another_transaction_holds_is_not_waited_for(kind, place):
    async with transaction(kind, place.url) as first, transaction(kind, place.url) as second:
        assert (await first.claim_key(place, key())).claimed
        for _ in range(2):
            assert await second.claim_key(place, key()) == KeyClaim(False)
        assert await place.store.claim_key(key(owner="r1")) == KeyClaim(False)
        assert (await second.claim_key(place, key("k2"))).claimed
        await first.rollback()
        assert (await second.claim_key(place, key())).claimed
        await second.rollback()


async def test_a_process_that_dies_before_the_commit_leaves_nothing(kind, place):
    here = Path(__file__).parent
    command = [sys.executable, here / "dies_before_commit.py", kind, place.url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*sys.path, here.parent)))}
    child = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, env=environment)
    try:
        assert await asyncio.to_thread(child.stdout.readline) == b"started\n"
    finally:
        child.kill()
        await asyncio.to_thread(child.communicate)
    assert (await place.orders(), await place.runs(), await place.signals()) == ([], set(), [])


async def test_a_start_adds_one_statement_to_the_transaction(kind, place, tmp_path):
    async with transaction(kind, place.url) as tx:
        # The first start through an engine finds out whether it leads to the store's database.
        await tx.start(place, new())
        await tx.order("book")
        async with counted(tx, tmp_path) as statements:
            await tx.start(place, new())
        await tx.commit()
    if kind == "raw-sqlite3":
        statements = [statement for statement in statements if not statement.startswith("SELECT")]
    assert len(statements) == 1


async def test_a_thousand_runs_are_one_statement(kind, place, tmp_path):
    runs = [new() for _ in range(1000)]
    async with transaction(kind, place.url) as tx:
        await tx.start(place, new())
        await tx.order("book")
        async with counted(tx, tmp_path) as statements:
            answers = await tx.start(place, *runs)
        await tx.commit()
    assert len([statement for statement in statements if not statement.startswith("SELECT")]) == 1
    assert answers == [Inserted(run.saga_id, True, "f1") for run in runs]
    assert {run.saga_id for run in runs} < await place.runs()


async def test_a_run_that_is_there_is_left_as_it_is(kind, place):
    run = new()
    other = NewRun(run.saga_id, "OrderSaga", '{"n": 2}', "f2")
    async with transaction(kind, place.url) as tx:
        await tx.start(place, run)
        assert await tx.start(place, run) == [Inserted(run.saga_id, False, "f1")]
        assert await tx.start(place, other) == [Inserted(run.saga_id, False, "f1")]
        fresh = new()
        assert await tx.start(place, other, fresh, fresh) == [
            Inserted(run.saga_id, False, "f1"),
            Inserted(fresh.saga_id, True, "f1"),
            Inserted(fresh.saga_id, False, "f1"),
        ]
        await tx.commit()
    record = await place.store.load(run.saga_id)
    assert (record.context, record.status) == ('{"n": 1}', "pending")


async def test_a_run_for_later_is_not_due_before(kind, place):
    later = datetime.now(UTC).replace(microsecond=250) + timedelta(hours=1)
    now, one, two = new(), new(not_before=later), new(not_before=later)
    async with transaction(kind, place.url) as tx:
        await tx.start(place, one)
        await tx.start(place, two, now)
        await tx.commit()
    assert [claimed.saga_id for claimed in await place.store.claim("w1", 10, 30, KNOWN)] == [now.saga_id]
    assert {(await place.store.load(run.saga_id)).available_at for run in (one, two)} == {later}


async def test_a_connection_that_commits_by_itself_is_refused(kind, place):
    async with transaction(kind, place.url, autocommit=True) as tx:
        with pytest.raises(TransactionRequired, match="or leave session=… out"):
            await tx.start(place, new())
    assert await place.runs() == set()


async def test_a_leased_run_cannot_wait_for_a_commit(kind, place):
    async with transaction(kind, place.url) as tx:
        with pytest.raises(ValueError, match="owner"):
            await tx.start(place, new(lease_owner="w1"))


@pytest.mark.parametrize("kind", POSTGRES)
async def test_the_commit_wakes_a_worker_and_a_rollback_does_not(kind, place):
    await place.store.wait(0.01)
    await _listening(place.store)
    async with transaction(kind, place.url) as tx:
        await tx.start(place, new())
        await tx.rollback()
        waiting = asyncio.create_task(place.store.wait(60))
        await tx.start(place, new(), new())
        # The notification of the rollback would have come before the answer to a later statement.
        await place.store.stats()
        assert not waiting.done()
        await tx.commit()
        await asyncio.wait_for(waiting, 10)


async def _listening(store: PostgresStore) -> None:
    async with asyncio.timeout(10):
        while not store._notifications.listening:
            await asyncio.sleep(0.01)

"""No two processes hold one run: claims and fenced writes on connections of their own, at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from sagaz_durable.serialization import codec
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.postgresql import maintenance
from sagaz_durable.stores.postgresql.claims import CLAIM, NEW, claim_statement
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_integration_core.contract.decisions import Erasure, Intervention
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, Release, Renewal, RunWrite, StepWrite
from sagaz_integration_core.contract.waits import WaitWrite
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}


def new(saga_id: str | None = None, context: str = "{}", lease_owner: str | None = None) -> NewRun:
    return NewRun(saga_id or str(uuid4()), "OrderSaga", context, "f1", lease_owner=lease_owner)


def started(name: str) -> StepWrite:
    return StepWrite(name, "do", "started")


async def test_eight_claimers_of_their_own_never_get_the_same_run(store, settings):
    await store.insert([new() for _ in range(2000)], 30)
    others = [create_store(Settings(storage_url=settings.storage_url, schema=settings.schema)) for _ in range(8)]

    async def claim_all(number: int, other: PostgresStore) -> list[str]:
        await other.open()
        got: list[str] = []
        while runs := await other.claim(f"w{number}", 7, 30, KNOWN):
            got += [run.saga_id for run in runs]
        await other.close()
        return got

    got = await asyncio.gather(*(claim_all(number, other) for number, other in enumerate(others)))
    assert sorted(saga_id for saga_ids in got for saga_id in saga_ids) == sorted(
        {saga_id for saga_ids in got for saga_id in saga_ids}
    )
    assert sum(map(len, got)) == 2000


async def test_a_write_does_not_wait_for_a_claim_and_is_fenced_out_after_it(store, settings):
    """What is locked is told apart from what was lost, and harms no other."""
    await store.insert([new("x", lease_owner="old"), new("y", lease_owner="old")], 30)
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as claiming:
        update = "UPDATE {}.sagaz_run SET attempt = attempt + 1, lease_owner = 'new' WHERE saga_id = 'x'"
        await claiming.execute(update.format(settings.schema).encode())
        writes = [RunWrite(saga_id, "old", 1, (started("pay"),), status="completed") for saga_id in ("x", "y")]
        assert await asyncio.wait_for(store.write(writes), 5) == [None, True]
        assert await asyncio.wait_for(store.renew("old", [("x", 1)], 30), 5) == Renewal(set(), {"x"})
        assert await store.load_steps("x") == []
        await claiming.commit()
    assert await store.write(writes) == [False, False]
    assert (await store.load("x")).status == "executing"
    assert (await store.load_steps("x"), len(await store.load_steps("y"))) == ([], 1)


async def test_a_claim_passes_a_row_by_that_is_being_written(store, settings):
    await store.insert([new("x"), new("y")], 30)
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as writing:
        select = f"SELECT 1 FROM {settings.schema}.sagaz_run WHERE saga_id = 'x' FOR NO KEY UPDATE"
        await writing.execute(select.encode())
        assert [run.saga_id for run in await asyncio.wait_for(store.claim("w1", 10, 30, KNOWN), 5)] == ["y"]


async def test_a_claim_does_not_wait_for_the_journal_of_a_run_that_goes_on(store, settings):
    """Then the call itself journals that it begins again."""
    await store.insert([new("x", lease_owner="w1")], 30)
    left, wait = StepWrite("pay", "do", "waiting"), WaitWrite("pay", "do", "", 0, seconds=0)
    assert await store.write([RunWrite("x", "w1", 1, (left,), waits=(wait,), release=Release(waits=True))]) == [True]
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as holding:
        await holding.execute(f"SELECT 1 FROM {settings.schema}.sagaz_step FOR UPDATE".encode())
        [run] = await asyncio.wait_for(store.claim("w1", 10, 30, KNOWN), 5)
    assert [(entry.status, entry.attempt) for entry in run.steps] == [("waiting", 1)]
    assert [wait.outcome for wait in run.waits] == ["timeout"]


async def test_a_decision_waits_a_second_for_a_locked_row_and_then_says_so(store, settings):
    await store.insert([new("x")], 30)
    decision = Intervention("x", 0, "pending", "compensating", "cancel", "ann", "")
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as holding:
        select = f"SELECT 1 FROM {settings.schema}.sagaz_run WHERE saga_id = 'x' FOR NO KEY UPDATE"
        await holding.execute(select.encode())
        with pytest.raises(StoreUnavailable, match="run x has been locked by another transaction"):
            await asyncio.wait_for(store.intervene(decision), 10)
        assert (await store.load("x")).status == "pending"
        deciding = asyncio.create_task(store.intervene(decision))
        await holding.rollback()
        assert await asyncio.wait_for(deciding, 10) is True


WANTED = Wanted(KNOWN, None, alone=False)
STATEMENTS = pytest.mark.parametrize("statement", [NEW, claim_statement(CLAIM, WANTED)], ids=["new", "any"])


@STATEMENTS
async def test_a_claim_locks_no_more_than_it_takes(store, settings, statement):
    """Else another one at the same time would find nothing, and wait for its next look."""
    sagas = dict.fromkeys(("OrderSaga", "A", "B"), ())
    await store.insert([NewRun(f"{name}{n}", name, "{}", "f1") for n in range(4) for name in sagas], 30)
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as holding:
        values = {"owner": "w1", "limit": 5, "half": 2, "seconds": 30, "names": list(sagas), "first_steps": "{}"}
        await holding.execute(store.database.text(statement).encode(), values)
        assert len(await asyncio.wait_for(store.claim("w2", 100, 30, sagas), 5)) == 7


@STATEMENTS
async def test_runs_that_are_due_of_other_sagas_cost_a_claim_nothing(store, settings, statement):
    await store.insert([NewRun(f"u{n}", "Unknown", "{}", "f1") for n in range(5_000)], 30)
    await store.insert([new() for _ in range(10)], 30)
    values = {"owner": "w1", "limit": 10, "half": 5, "seconds": 30, "names": list(KNOWN), "first_steps": "{}"}
    # As our own sessions plan it.
    async with store.database._pool.connection() as connection, connection.transaction(force_rollback=True):
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {store.database.text(statement)}"
        [(plan,)] = await (await connection.execute(explain.encode(), values)).fetchall()
    read = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert read < 500, "5,000 runs are in some hundred pages, and each would be looked at several times"
    assert len(await store.claim("w1", 100, 30, KNOWN)) == 10


async def test_what_was_erased_costs_the_search_for_what_is_to_be_erased_nothing(store, settings):
    await store.insert([NewRun(f"e{n}", "OrderSaga", "{}", "f1") for n in range(5_000)], 30)
    erasure = Erasure("worker", "", ("completed",), before=datetime.now(UTC) + timedelta(days=1))
    meant, values = maintenance._meant(erasure)
    async with store.database._pool.connection() as connection:
        ended = "UPDATE {schema}.sagaz_run SET status = 'completed', finished_at = now(), fingerprint = 'erased:f1'"
        await connection.execute(store.database.text(ended).encode())
        search = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT saga_id {meant} ORDER BY finished_at LIMIT 100"
        # The first search cleans up after the update, as its own comes to be vacuumed.
        for _ in range(2):
            [(plan,)] = await (await connection.execute(store.database.text(search).encode(), values)).fetchall()
    read = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert read < 50, "5,000 runs are in some hundred pages"


async def test_owners_race_and_only_the_present_one_records(store, settings):
    """Each owner writes as fast as it can while the run is taken over and over again."""
    other = create_store(settings)
    await other.open()
    await store.insert([new("x")], 30)
    accepted: list[int] = []

    async def execute(place: PostgresStore, owner: str) -> None:
        (run,) = await place.claim(owner, 1, -1, KNOWN, saga_ids=["x"]) or [None]
        if run is None:
            return
        for n in range(5):
            step = started(f"{run.attempt}-{n}")
            if not (await place.write([RunWrite("x", owner, run.attempt, (step,))]))[0]:
                return
            accepted.append(run.attempt)

    for round_ in range(20):
        await asyncio.gather(*(execute(place, f"{n}-{round_}") for n, place in enumerate((store, other, store))))
    steps = await store.load_steps("x")
    assert len(steps) == len(accepted)
    # Whatever an owner recorded is before whatever its successor did.
    assert [step.attempt for step in steps] == sorted(step.attempt for step in steps)
    await other.close()


async def test_batches_and_renewals_of_the_same_runs_do_not_deadlock(store):
    runs = [new(lease_owner="w1") for _ in range(200)]
    await store.insert(runs, 30)
    writes = [RunWrite(run.saga_id, "w1", 1, (started("pay"),)) for run in runs]
    held = [(run.saga_id, 1) for run in runs]
    for _ in range(5):
        await asyncio.gather(store.write(writes), store.renew("w1", held[::-1], 30), store.write(writes[::-1]))


async def test_a_tenure_in_one_batch_ends_where_it_ends(store):
    await store.insert([new("x", lease_owner="w1"), new("y", lease_owner="w1")], 30)
    answers = await store.write(
        [
            RunWrite("x", "w1", 1, (started("pay"),)),
            RunWrite("x", "w0", 1, (started("stale"),)),
            RunWrite("x", "w1", 1, (StepWrite("pay", "do", "done", result='"ok"'), started("ship"))),
            RunWrite("x", "w1", 1, (started("pay"),)),
            RunWrite("y", "w1", 1, status="compensating"),
            RunWrite("y", "w1", 1, release=Release(5.0, failed=True), error="boom"),
            RunWrite("x", "w1", 1, status="completed"),
            RunWrite("y", "w1", 1, (started("late"),)),
            RunWrite("x", "w1", 1, error="late"),
        ]
    )
    assert answers == [True, False, True, True, True, True, True, False, False]
    assert [(step.step, step.status, step.result) for step in await store.load_steps("x")] == [
        ("ship", "started", None),
        ("pay", "started", None),
    ]
    x, y = await store.load("x"), await store.load("y")
    assert (x.status, x.error, x.lease_owner) == ("completed", None, None)
    assert (y.status, y.error, y.failures, y.lease_owner) == ("compensating", "boom", 1, None)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": "", "a b": [1, -1, 2**63 - 1, -(2**63)]},
        {"floats": [0.1, 1.0, 1e15, 123456789012345.6, 5e-324, 2.5e-7, -0.5, 9999999999999998.0]},
        {"text": '\u0001\u007f\u00e9\u20ac\U0001f600 " \\ / \n\t $1 %s :x ? \\u0000 \ufffe'},
        {"deep": [[[[{"a": [None, True, False, {}]}]]]], "b": 1, "aa": 2, "a": 3},
        {"numbers as text": ["1e400", "NaN", "0"]},
    ],
)
async def test_what_the_codec_accepts_comes_back_as_it_was(store, value):
    text = codec.encode(value, max_bytes=10_000)
    await store.insert([new("x", text, lease_owner="w1")], 30)
    await store.write([RunWrite("x", "w1", 1, (StepWrite("s", "do", "done", result=text),))])
    for back in ((await store.load("x")).context, (await store.load_steps("x"))[0].result):
        # jsonb has an order of its own for keys; everything else is the same text again.
        assert codec.encode(codec.decode(back), max_bytes=10_000) == text


async def test_round_trips_are_counted(store, monkeypatch):
    """A guard that does not depend on a machine's speed: what a run costs is its round trips."""
    execute_once, executed = store.database.execute_once, []

    async def counting(template, values=()):
        executed.append(template)
        return await execute_once(template, values)

    async def cost(call) -> int:
        executed.clear()
        await call
        return len(executed)

    monkeypatch.setattr(store.database, "execute_once", counting)
    runs = [new() for _ in range(100)]
    assert await cost(store.insert(runs, 30)) == 1
    assert await cost(store.insert([new(lease_owner="w1")], 30)) == 1
    assert await cost(store.claim("w1", 100, 30, KNOWN)) == 1
    held = [RunWrite(run.saga_id, "w1", 1, (started("pay"),)) for run in runs]
    assert await cost(store.write([*held, *(RunWrite(run.saga_id, "w1", 1, status="completed") for run in runs)])) == 1
    assert await cost(store.renew("w1", [(run.saga_id, 1) for run in runs], 30)) == 1
    assert await cost(store.claim("w1", 100, 30, KNOWN)) == 1
    assert await cost(store.stats()) == 1
    assert await cost(store.load_waits(*(run.saga_id for run in runs))) == 1
    assert await cost(store.count_lost({f"Saga{n}": ["pay"] for n in range(9)})) == 1
    assert await cost(store.count_signalled()) == 1


async def test_rows_of_sagaz_with_a_status_that_ours_have_not_are_listed(store):
    await store.insert([new("ours")], 30)
    await store.save_foreign("theirs", "OrderSaga", "forward_recovery", "{}", {})
    assert [run.saga_id for run in await store.find(RunFilter())] == ["theirs", "ours"]
    assert [run.saga_id for run in await store.find(RunFilter(statuses=("pending", "pending")))] == ["ours"]


async def _blocked(url: str) -> None:
    """Wait until some connection to this database waits for a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as observer:
        query = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
            "AND wait_event IN ('transactionid', 'tuple')"
        )
        async with asyncio.timeout(10):
            while not await (await observer.execute(query)).fetchone():
                pass

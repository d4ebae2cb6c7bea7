"""A transactional step's effect and its journal entry are committed together, or neither; and only once."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, sessionmaker
from transactional_kinds import KINDS, SQLITE, factory_of, make_tables, rows, settings_for, shop_for, shop_url

from sagaz_durable import Saga, action, compensate, effect
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.records import FirstStep, NewRun
from sagaz_integration_core.errors import RunFailed, RunInterrupted, StepError, UsageError, WriteLockHeld

SYNC = ("pysqlite", "psycopg")
"""One kind of session for each database, for what does not depend on the library."""


@pytest.fixture
def url(request, tmp_path):
    return shop_url(request, tmp_path)


@asynccontextmanager
async def opened(kind, url, *sagas, factory=None, worker=False, **settings):
    async with factory_of(kind, url) as made:
        given = settings_for(url, lease_seconds=10, renew_seconds=1) if not settings else settings_for(url, **settings)
        runtime = SagazRuntime(given, sagas=sagas, session_factory=(factory and factory(made)) or made, worker=worker)
        await runtime.open()
        await runtime.begin()
        try:
            yield runtime
        finally:
            await runtime.close()


def charge(what="book"):
    current_step().session.execute(sa.text(f"INSERT INTO charges VALUES ('{current_step().saga_id}', '{what}')"))


def shop(function, *, timeout=60.0):
    """A saga of one transactional step, whose compensation is transactional, too."""

    class One(Saga):
        saga_name = "one"

        @action("charge", timeout_seconds=timeout)
        @effect("transactional")
        def charge(self, ctx):
            return function(ctx)

        @compensate("charge")
        @effect("transactional")
        def refund(self, ctx):
            current_step().session.execute(sa.text(f"INSERT INTO refunds VALUES ('{ctx['saga_id']}', 'book')"))

    return One


async def journal(runtime, saga_id="run-1"):
    return {(step.step, step.phase): step.status for step in await runtime.store.load_steps(saga_id)}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_session_commits_the_effect_of_a_step_and_of_its_compensation(kind, url):
    async with opened(kind, url, shop_for(kind)) as runtime:
        await Sagas(runtime).run(shop_for(kind), {"what": "book", "fails": False}, "kept")
        with pytest.raises(ValueError, match="no truck"):
            await Sagas(runtime).run(shop_for(kind), {"what": "book", "fails": True}, "undone")
    assert rows(url, "charges") == [("kept", "book"), ("undone", "book")]
    assert rows(url, "refunds") == [("undone", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_a_factory_whose_sessions_begin_nothing_by_themselves_will_do(kind, url):
    def explicit(made):
        return sessionmaker(made.kw["bind"], autobegin=False)

    async with opened(kind, url, One := shop(lambda ctx: charge()), factory=explicit) as runtime:
        await Sagas(runtime).run(One, {}, "run-1")
    assert rows(url, "charges") == [("run-1", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_nothing_of_a_step_is_seen_before_its_commit_and_then_all_of_it(kind, url):
    seen = []

    def step(ctx):
        charge()
        seen.append((rows(url, "charges"), rows(url, "sagaz_step_view")))
        return {"charged": 1}

    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    async with opened(kind, url, One := shop(step)) as runtime:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE VIEW sagaz_step_view AS SELECT saga_id, status AS what FROM sagaz_step"))
        result = await Sagas(runtime).run(One, {}, "run-1")
    engine.dispose()
    assert seen == [([], [])]
    assert result["charged"] == 1
    assert rows(url, "charges") == [("run-1", "book")]
    assert rows(url, "sagaz_step_view") == [("run-1", "done")]


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_that_fails_leaves_nothing_and_is_not_compensated(kind, url):
    def step(ctx):
        charge()
        raise TimeoutError("the bank does not answer")

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(TimeoutError):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == rows(url, "refunds") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_whose_result_cannot_be_kept_leaves_nothing_and_is_not_compensated(kind, url):
    def step(ctx):
        charge()
        return {"order": object()}

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(ValueError, match="order: object is not one of JSON's types"):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_beyond_its_time_limit_is_rolled_back_and_never_commits_later(kind, url):
    goes_on, left = threading.Event(), threading.Event()

    def step(ctx):
        charge()
        goes_on.wait(20)

    def leaving(factory):
        class Leaving(Session):
            def close(self):
                super().close()
                left.set()

        return sessionmaker(factory.kw["bind"], class_=Leaving)

    async with opened(kind, url, One := shop(step, timeout=0.1), factory=leaving) as runtime:
        run = asyncio.create_task(Sagas(runtime).run(One, {}, "run-1"))
        if kind in SQLITE:
            # It holds the write lock, so that its end can only be recorded when it has let go.
            asyncio.get_running_loop().call_later(0.5, goes_on.set)
        with pytest.raises(TimeoutError, match="timed out"):
            await run
        goes_on.set()
        await asyncio.to_thread(left.wait, 20)
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == rows(url, "refunds") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_commit_that_has_begun_wins_over_the_time_limit(kind, url):
    def slow(factory):
        class Slow(Session):
            def commit(self):
                threading.Event().wait(0.5)
                super().commit()

        return sessionmaker(factory.kw["bind"], class_=Slow)

    async with opened(kind, url, One := shop(lambda ctx: charge(), timeout=0.2), factory=slow) as runtime:
        await Sagas(runtime).run(One, {}, "run-1")
    assert rows(url, "charges") == [("run-1", "book")]


@pytest.mark.parametrize("kind", ["aiosqlite", "asyncpg"])
async def test_an_asynchronous_step_beyond_its_time_limit_is_rolled_back(kind, url):
    class Slow(Saga):
        saga_name = "slow"

        @action("charge", timeout_seconds=0.2)
        @effect("transactional")
        async def charge(self, ctx):
            await current_step().session.execute(sa.text("INSERT INTO charges VALUES ('run-1', 'book')"))
            await asyncio.Event().wait()

    async with opened(kind, url, Slow) as runtime:
        with pytest.raises(TimeoutError, match="timed out"):
            await Sagas(runtime).run(Slow, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_is_rolled_back_when_the_run_is_another_process_s_by_then(kind, url):
    calls = []

    def step(ctx):
        calls.append(1)
        charge()
        if len(calls) == 1:
            # As if a claim had been faster; it is rolled back together with the step.
            current_step().session.execute(sa.text("UPDATE sagaz_run SET lease_owner = 'another'"))

    async with opened(kind, url, One := shop(step), worker=True, lease_seconds=2) as runtime:
        with pytest.raises(RunInterrupted, match="is another process's now"):
            await Sagas(runtime).run(One, {}, "run-1")
        await Sagas(runtime).wait("run-1", 20)
    assert len(calls) == 2
    assert rows(url, "charges") == [("run-1", "book")]


class Unanswered(sa.exc.OperationalError):
    def __init__(self):
        error = psycopg.OperationalError("server closed the connection unexpectedly")
        super().__init__("COMMIT", None, error)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("kind", SYNC)
async def test_a_commit_without_an_answer_is_looked_up_in_the_journal(kind, url, committed):
    calls = []

    def unanswered(factory):
        class Unanswering(Session):
            def commit(self):
                if len(calls) > 1:
                    super().commit()
                    return
                (super().commit if committed else super().rollback)()
                raise Unanswered

        return sessionmaker(factory.kw["bind"], class_=Unanswering)

    def step(ctx):
        calls.append(1)
        charge()
        return {"charged": len(calls)}

    async with opened(kind, url, One := shop(step), factory=unanswered) as runtime:
        result = await Sagas(runtime).run(One, {}, "run-1")
    assert result["charged"] == len(calls) == (1 if committed else 2)
    assert rows(url, "charges") == [("run-1", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_a_conflict_with_another_transaction_repeats_the_whole_step_and_fails_nothing(kind, url):
    calls = []

    def step(ctx):
        calls.append(ctx.pop("items"))
        charge()
        if len(calls) < 3:
            raise sa.exc.OperationalError("UPDATE", None, psycopg.errors.SerializationFailure("conflict"))

    async with opened(kind, url, One := shop(step)) as runtime:
        await Sagas(runtime).run(One, {"items": [1]}, "run-1")
    # Each with a fresh copy of its context.
    assert calls == [[1], [1], [1]]
    assert rows(url, "charges") == [("run-1", "book")]


@pytest.mark.parametrize(
    ("level", "again"), [("READ COMMITTED", False), ("REPEATABLE READ", True), ("SERIALIZABLE", True)]
)
async def test_a_step_that_outlasts_a_renewal_is_called_again_unless_it_reads_what_is_committed(
    postgres_url, level, again
):
    make_tables(postgres_url)
    calls = []

    def lease():
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            return connection.execute("SELECT lease_expires_at FROM sagaz_run").fetchone()

    def step(ctx):
        calls.append(1)
        charge()
        if len(calls) == 1:
            first, deadline = lease(), time.monotonic() + 20
            while lease() == first:
                assert time.monotonic() < deadline, "the lease is not renewed"
                time.sleep(0.02)

    def isolated(factory):
        return sessionmaker(factory.kw["bind"].execution_options(isolation_level=level))

    settings = {"lease_seconds": 10, "renew_seconds": 0.2}
    async with opened("psycopg", postgres_url, One := shop(step), factory=isolated, **settings) as runtime:
        await Sagas(runtime).run(One, {}, "run-1")
    # On a slow machine the second call may meet a renewal, too.
    assert (len(calls) > 1) is again
    assert rows(postgres_url, "charges") == [("run-1", "book")]


async def test_a_deadlock_repeats_the_transaction_that_postgresql_has_chosen(postgres_url):
    make_tables(postgres_url)
    met = threading.Barrier(2)
    calls = []

    def first(ctx):
        update("a")
        meet()
        update("b")

    def second(ctx):
        update("b")
        meet()
        update("a")

    def update(what):
        calls.append(what)
        current_step().session.execute(sa.text(f"UPDATE charges SET saga_id = saga_id || '+' WHERE what = '{what}'"))

    def meet():
        if len(calls) <= 2:
            met.wait(20)

    class Both(Saga):
        saga_name = "both"

        @action("first")
        @effect("transactional")
        def first(self, ctx):
            first(ctx)

        @action("second")
        @effect("transactional")
        def second(self, ctx):
            second(ctx)

    with psycopg.connect(postgres_url) as connection:
        connection.execute("INSERT INTO charges VALUES ('', 'a'), ('', 'b')")
    async with opened("psycopg", postgres_url, Both) as runtime:
        await Sagas(runtime).run(Both, {}, "run-1")
    # On a busy machine they may meet again.
    assert len(calls) >= 6
    assert rows(postgres_url, "charges") == [("++", "a"), ("++", "b")]


async def test_a_journal_that_is_refused_for_a_while_fails_no_step_and_the_effect_is_there_once(postgres_url):
    make_tables(postgres_url)
    calls = []

    def step(ctx):
        calls.append(1)
        charge()
        if len(calls) == 3:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute("DROP TRIGGER refusing ON sagaz_step")

    async with opened("psycopg", postgres_url, One := shop(step)) as runtime:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'not now'; END $$"
            )
            connection.execute(
                "CREATE TRIGGER refusing BEFORE INSERT ON sagaz_step FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "done"}
    assert len(calls) == 3
    assert rows(postgres_url, "charges") == [("run-1", "book")]


@pytest.mark.parametrize("kind", ["pysqlite"])
async def test_a_start_beside_the_transaction_that_holds_sqlite_s_lock_is_the_step_s_mistake(kind, url):
    sagas, calls = [], []
    other = shop(lambda ctx: None)
    other.saga_name = "other"

    def step(ctx):
        calls.append(1)
        sagas[0].start_sync(other, {})

    async with opened(kind, url, One := shop(step), other) as runtime:
        sagas.append(Sagas(runtime))
        with pytest.raises(WriteLockHeld):
            await Sagas(runtime).run(One, {}, "run-1")
    assert calls == [1]


@pytest.mark.parametrize("kind", SYNC)
async def test_what_a_database_checks_at_the_commit_fails_the_step_that_has_done_it(kind, url):
    deferred = "item INTEGER REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED"
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE items (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text(f"CREATE TABLE orders ({deferred})"))
    engine.dispose()

    calls = []

    def step(ctx):
        calls.append(1)
        charge()
        current_step().session.execute(sa.text("INSERT INTO orders VALUES (7)"))

    def checking(factory):
        def make():
            session = factory()
            if kind in SQLITE:
                session.execute(sa.text("PRAGMA foreign_keys = ON"))
            return session

        return make

    async with opened(kind, url, One := shop(step), factory=checking) as runtime:
        with pytest.raises(sa.exc.IntegrityError):
            await Sagas(runtime).run(One, {}, "run-1")
        assert calls == [1]
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == rows(url, "refunds") == []


@pytest.mark.parametrize("kind", ["pysqlite", "psycopg", "psycopg2"])
async def test_a_commit_by_the_step_is_refused_where_it_stands(kind, url):
    def step(ctx):
        charge()
        with current_step().session.begin_nested():
            charge("a part of it")
        current_step().session.commit()

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(StepError, match=r"has called commit\(\) on its session"):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "failed"}
    assert rows(url, "charges") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_that_commits_by_sql_is_in_doubt_and_compensated(kind, url):
    def step(ctx):
        charge()
        current_step().session.execute(sa.text("COMMIT"))
        if ctx["fails"]:
            raise ValueError("declined")

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(StepError, match="has ended its own transaction"):
            await Sagas(runtime).run(One, {"fails": False}, "run-1")
        with pytest.raises(ValueError, match="declined"):
            await Sagas(runtime).run(One, {"fails": True}, "run-2")
        assert await journal(runtime) == {("charge", "do"): "in_doubt", ("charge", "undo"): "done"}
    assert rows(url, "charges") == rows(url, "refunds") == [("run-1", "book"), ("run-2", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_that_commits_by_sql_and_raises_what_is_no_exception_is_in_doubt_too(kind, url):
    def step(ctx):
        charge()
        current_step().session.execute(sa.text("COMMIT"))
        raise SystemExit(3)

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(StepError, match="raised SystemExit: 3"):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "in_doubt", ("charge", "undo"): "done"}
    assert rows(url, "charges") == rows(url, "refunds") == [("run-1", "book")]


@pytest.mark.parametrize("kind", ["aiosqlite", "psycopg-async"])
async def test_an_async_step_that_commits_by_sql_and_runs_out_of_time_is_in_doubt_too(kind, url):
    class One(Saga):
        saga_name = "one"

        @action("charge", timeout_seconds=0.5)
        @effect("transactional")
        async def charge(self, ctx):
            session = current_step().session
            await session.execute(sa.text("INSERT INTO charges VALUES ('run-1', 'book')"))
            await session.execute(sa.text("COMMIT"))
            await asyncio.Event().wait()

        @compensate("charge")
        @effect("transactional")
        async def refund(self, ctx):
            await current_step().session.execute(sa.text("INSERT INTO refunds VALUES ('run-1', 'book')"))

    async with opened(kind, url, One) as runtime:
        with pytest.raises(TimeoutError, match="timed out"):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {("charge", "do"): "in_doubt", ("charge", "undo"): "done"}
    assert rows(url, "charges") == rows(url, "refunds") == [("run-1", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_that_has_rolled_back_by_itself_has_failed_and_left_nothing(kind, url):
    def step(ctx):
        charge()
        current_step().session.rollback()
        charge("again")
        if ctx["fails"]:
            raise ValueError("declined")

    async with opened(kind, url, One := shop(step)) as runtime:
        with pytest.raises(StepError, match="has ended its own transaction"):
            await Sagas(runtime).run(One, {"fails": False}, "run-1")
        with pytest.raises(ValueError, match="declined"):
            await Sagas(runtime).run(One, {"fails": True}, "run-2")
        assert await journal(runtime, "run-1") == await journal(runtime, "run-2") == {("charge", "do"): "failed"}
    assert rows(url, "charges") == rows(url, "refunds") == []


async def test_a_step_that_swallows_an_error_of_postgresql_is_told_so(postgres_url):
    make_tables(postgres_url)

    def step(ctx):
        charge()
        with suppress(sa.exc.DataError):
            current_step().session.execute(sa.text("SELECT 1 / 0"))

    async with opened("psycopg", postgres_url, One := shop(step)) as runtime:
        with pytest.raises(StepError, match="went on after an error of the database"):
            await Sagas(runtime).run(One, {}, "run-1")
    assert rows(postgres_url, "charges") == []


@pytest.mark.parametrize("kind", SYNC)
async def test_a_step_that_was_in_doubt_before_it_became_transactional_is_compensated_when_it_fails(kind, url, ended):
    def step(ctx):
        raise ValueError("declined")

    async with opened(kind, url, shop(step), worker=True) as runtime:
        run = NewRun("run-1", "one", "{}", "f", lease_owner="gone", first_steps=(FirstStep("charge", True),))
        await runtime.store.insert([run], 0.0)
        await ended(runtime, "run-1")
        assert await journal(runtime) == {("charge", "do"): "in_doubt", ("charge", "undo"): "done"}
    assert rows(url, "refunds") == [("run-1", "book")]


@pytest.mark.parametrize("kind", SYNC)
async def test_what_a_step_follows_is_durable_before_it_is_called(kind, url):
    seen = []

    class Two(Saga):
        saga_name = "two"

        @action("plain")
        async def plain(self, ctx):
            return {"plain": 1}

        @action("charge", depends_on=["plain"])
        @effect("transactional")
        def charge(self, ctx):
            found = current_step().session.execute(sa.text("SELECT step, status FROM sagaz_step"))
            seen.extend(tuple(row) for row in found)

    async with opened(kind, url, Two) as runtime:
        await Sagas(runtime).run(Two, {}, "run-1")
    assert seen == [("plain", "done")]


@pytest.mark.parametrize("kind", SYNC)
async def test_events_of_a_step_are_in_the_outbox_if_and_only_if_it_commits(kind, url):
    def step(ctx):
        charge()
        if ctx["fails"]:
            raise ValueError("declined")

    async with opened(
        kind, url, One := shop(step), broker_url="memory://", lease_seconds=10, renew_seconds=1
    ) as runtime:
        await Sagas(runtime).run(One, {"fails": False}, "run-1")
        with pytest.raises(ValueError, match="declined"):
            await Sagas(runtime).run(One, {"fails": True}, "run-2")
        topics = {
            run: [event.topic for event in await runtime.store.find_events(EventFilter(saga_id=run))]
            for run in ("run-1", "run-2")
        }
    assert topics == {
        "run-1": ["one.charge.success", "one.completed"],
        "run-2": ["one.charge.failed", "one.failed"],
    }


@pytest.mark.parametrize("kind", SYNC)
async def test_a_run_that_a_step_starts_in_its_session_exists_if_and_only_if_the_step_commits(kind, url):
    other = shop(lambda ctx: None)
    other.saga_name = "other"
    sagas = []

    def step(ctx):
        sagas[0].start_sync(other, {}, idempotency_key=str(ctx["fails"]), session=current_step().session)
        if ctx["fails"]:
            raise ValueError("declined")

    async with opened(kind, url, One := shop(step), other) as runtime:
        sagas.append(Sagas(runtime))
        await Sagas(runtime).run(One, {"fails": False}, "run-1")
        with pytest.raises(ValueError, match="declined"):
            await Sagas(runtime).run(One, {"fails": True}, "run-2")
        assert (await runtime.store.stats()).counts["pending"] == 1


@pytest.mark.parametrize("kind", ["pysqlite", "aiosqlite"])
async def test_a_transactional_step_cannot_wait(kind, url):
    class Waiting(Saga):
        saga_name = "waiting"

        if KINDS[kind]:

            @action("charge")
            @effect("transactional")
            async def charge(self, ctx):
                await current_step().signal("paid")

        else:

            @action("charge")
            @effect("transactional")
            def charge(self, ctx):
                current_step().sleep(1)

    async with opened(kind, url, Waiting) as runtime:
        with pytest.raises(UsageError, match=r"Step 'charge' is transactional, and cannot wait"):
            await Sagas(runtime).run(Waiting, {}, "run-1")


@pytest.mark.parametrize("kind", SYNC)
async def test_a_session_on_another_database_than_the_store_s_is_refused_and_the_step_is_not_called(
    kind, url, tmp_path
):
    calls = []
    elsewhere = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")

    async with opened(
        kind, url, One := shop(calls.append), factory=lambda made: sessionmaker(elsewhere), max_failures=1
    ) as runtime:
        with pytest.raises(RunFailed, match="WrongDatabase"):
            await Sagas(runtime).run(One, {}, "run-1")
        assert await journal(runtime) == {}
    elsewhere.dispose()
    assert calls == []


@pytest.mark.parametrize(
    ("kind", "what", "told"),
    [
        ("pysqlite", lambda made: lambda: AsyncSession(), "makes asynchronous sessions"),
        ("aiosqlite", lambda made: lambda: Session(), "makes synchronous sessions"),
        ("pysqlite", lambda made: lambda: 7, "returned a int"),
        ("aiosqlite", lambda made: lambda: 7, "returned a int"),
    ],
)
async def test_a_factory_that_makes_something_else_is_refused_at_the_first_call(kind, url, what, told):
    async with opened(kind, url, shop_for(kind), factory=what, max_failures=1) as runtime:
        with pytest.raises(RunFailed, match=told):
            await Sagas(runtime).run(shop_for(kind), {"what": "book", "fails": False}, "run-1")
        assert await journal(runtime) == {}


@pytest.mark.parametrize("kind", ["pysqlite"])
async def test_a_session_is_for_transactional_steps_only(kind, url):
    class Plain(Saga):
        saga_name = "plain"

        @action("look")
        def look(self, ctx):
            return current_step().session

    async with opened(kind, url, Plain) as runtime:
        with pytest.raises(UsageError, match=r"declared as @effect\('transactional'\)"):
            await Sagas(runtime).run(Plain, {}, "run-1")


@pytest.mark.parametrize("kind", SYNC)
async def test_steps_that_are_added_one_by_one_are_transactional_too(kind, url):
    class Added(Saga):
        saga_name = "added"

        def __init__(self):
            super().__init__()
            self.add_step("charge", effect("transactional")(lambda ctx: charge()))

    async with opened(kind, url, Added) as runtime:
        await Sagas(runtime).run(Added, {}, "run-1")
    assert rows(url, "charges") == [("run-1", "book")]

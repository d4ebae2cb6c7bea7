"""A transactional step that ends its transaction, or leaves it, in any way: refused in place, or found out."""

from __future__ import annotations

import asyncio
import inspect
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session
from sqlalchemy.pool import NullPool
from transactional_kinds import KINDS, factory_of, rows, settings_for, shop_url

from sagaz_durable import Saga, action, compensate, effect
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.transactions.database_errors import meaning
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.errors import StepError

OF_SQLALCHEMY = ("pysqlite", "psycopg", "psycopg2", "aiosqlite", "asyncpg", "psycopg-async")
DONE, FAILED = {("charge", "do"): "done"}, {("charge", "do"): "failed"}
UNDONE = {("charge", "do"): "in_doubt", ("charge", "undo"): "done"}


class Base(DeclarativeBase): ...


class Elsewhere(Base):
    __tablename__ = "elsewhere"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def url(request, tmp_path):
    return shop_url(request, tmp_path)


async def waited(value):
    return await value if inspect.isawaitable(value) else value


async def charge():
    session, text = current_step().session, f"INSERT INTO charges VALUES ('{current_step().saga_id}', 'book')"
    await waited(session.execute(sa.text(text) if isinstance(session, Session | AsyncSession) else text))


def in_thread(body, *args):
    """Run what awaits nothing that is not done."""
    try:
        body(*args).send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("It has waited.")


def shop(kind, body, timeout=60.0):
    async def pay(self, ctx):
        await charge()
        return await body(current_step().session)

    async def back(self, ctx):
        text = sa.text(f"INSERT INTO refunds VALUES ('{ctx['saga_id']}', 'book')")
        await waited(current_step().session.execute(text))

    if not KINDS[kind]:
        pay, back = (lambda self, ctx, one=one: in_thread(one, self, ctx) for one in (pay, back))
    members = {
        "saga_name": body.__name__,
        "charge": action("charge", timeout_seconds=timeout)(effect("transactional")(pay)),
    }
    return type("One", (Saga,), members | {"refund": compensate("charge")(effect("transactional")(back))})


async def run(kind, url, *bodies, factory=None, timeout=60.0):
    """Run them, each as the run of its name; return of each what it raised, and its journal."""
    async with factory_of(kind, url) as made:
        sagas = [shop(kind, body, timeout) for body in bodies]
        settings = settings_for(url, lease_seconds=10, renew_seconds=1)
        runtime = SagazRuntime(settings, sagas=sagas, session_factory=(factory and factory(made)) or made)
        await runtime.open()
        await runtime.begin()
        found = []
        for one in sagas:
            error = None
            try:
                await Sagas(runtime).run(one, {}, one.saga_name)
            except Exception as raised:
                error = raised
            steps = await runtime.store.load_steps(one.saga_name)
            found.append((error, {(step.step, step.phase): step.status for step in steps}))
        await runtime.close()
        return found


async def commit_of_the_connection(session):
    await waited((await waited(session.connection())).commit())


async def commit_of_its_transaction(session):
    await waited((await waited(session.connection())).get_transaction().commit())


@pytest.mark.parametrize("kind", OF_SQLALCHEMY)
async def test_a_commit_through_the_session_s_connection_is_refused_where_it_stands(kind, url):
    for error, journal in await run(kind, url, commit_of_the_connection, commit_of_its_transaction):
        assert "has called commit() on its session's connection" in str(error)
        assert journal == FAILED
    assert rows(url, "charges") == rows(url, "refunds") == []


async def commit(session):
    await waited(session.execute(sa.text("COMMIT")))


async def commit_and_fail_in_the_database(session):
    await commit(session)
    await waited(session.execute(sa.text("INSERT INTO nowhere VALUES (1)")))


async def commit_and_fail_in_a_flush(session):
    await commit(session)
    session.add(Elsewhere(id=1))
    await waited(session.flush())


async def commit_and_roll_back(session):
    await commit(session)
    await charge()
    await waited(session.rollback())


async def commit_and_roll_back_the_connection(session):
    await commit(session)
    await waited((await waited(session.connection())).rollback())


async def commit_and_close(session):
    await commit(session)
    await charge()
    await waited(session.close())
    raise ValueError("declined")


async def commit_and_exit(session):
    await commit(session)
    raise BaseExceptionGroup("all of it", [GeneratorExit()])


COMMITTED = [
    commit_and_fail_in_the_database, commit_and_fail_in_a_flush, commit_and_roll_back,
    commit_and_roll_back_the_connection, commit_and_close, commit_and_exit,
]  # fmt: skip


@pytest.mark.parametrize("kind", OF_SQLALCHEMY)
async def test_a_commit_by_sql_is_found_out_whatever_follows_it(kind, url):
    for error, journal in await run(kind, url, *COMMITTED):
        assert error is not None
        assert journal == UNDONE
    # After a COMMIT of which they do not know, some drivers commit each statement by itself.
    names = {(one.__name__, "book") for one in COMMITTED}
    assert set(rows(url, "charges")) == set(rows(url, "refunds")) == names


async def exit_in_a_thread(session):
    await commit(session)
    sys.exit(3)


@pytest.mark.parametrize("kind", ["pysqlite", "psycopg"])
async def test_a_commit_by_sql_is_found_out_when_the_step_exits_its_thread(kind, url):
    [(_, journal)] = await run(kind, url, exit_in_a_thread)
    assert journal == UNDONE


async def commit_and_hang(session):
    await commit(session)
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["aiosqlite", "asyncpg", "psycopg-async"])
async def test_a_commit_by_sql_is_found_out_when_an_asynchronous_step_is_stopped_at_its_limit(kind, url):
    [(error, journal)] = await run(kind, url, commit_and_hang, timeout=0.5)
    assert isinstance(error, TimeoutError)
    assert journal == UNDONE


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("kind", ["pysqlite", "psycopg"])
async def test_a_step_that_removes_its_session_and_goes_on_with_another_one_is_in_doubt(kind, url, goes_on):
    registries = []

    def scoped(made):
        registries.append(scoped_session(made))
        return registries[0]

    async def remove(session):
        registries[0].remove()
        if goes_on:
            registries[0].execute(sa.text("INSERT INTO charges VALUES ('remove', 'book')"))
            registries[0].commit()

    [(error, journal)] = await run(kind, url, remove, factory=scoped)
    assert "has ended its own transaction" in str(error)
    assert journal == (UNDONE if goes_on else FAILED)
    assert rows(url, "charges") == ([("remove", "book")] if goes_on else [])


async def rollback_and_more(session):
    await waited(session.rollback())
    await charge()


@pytest.mark.parametrize("kind", OF_SQLALCHEMY)
async def test_a_rollback_alone_leaves_nothing_in_doubt(kind, url):
    [(error, journal)] = await run(kind, url, rollback_and_more)
    assert "has ended its own transaction" in str(error)
    assert journal == FAILED
    assert rows(url, "charges") == []


async def leave_a_savepoint(session):
    await waited(session.begin_nested())
    await charge()


@pytest.mark.parametrize("kind", OF_SQLALCHEMY)
async def test_a_savepoint_that_is_left_open_is_part_of_the_whole(kind, url):
    [(error, journal)] = await run(kind, url, leave_a_savepoint)
    assert error is None
    assert journal == DONE
    assert rows(url, "charges") == [("leave_a_savepoint", "book")] * 2


async def reach_another_database(session):
    session.add(Elsewhere(id=1))


@pytest.mark.parametrize("kind", ["pysqlite", "psycopg", "aiosqlite"])
async def test_a_session_that_reaches_a_second_database_is_refused_before_it_does_anything_there(kind, url, tmp_path):
    path = f"sqlite:///{tmp_path / 'other.db'}"
    other = sa.create_engine(path, poolclass=NullPool)
    Base.metadata.create_all(other)
    bound = (
        create_async_engine(path.replace("sqlite:", "sqlite+aiosqlite:"), poolclass=NullPool) if KINDS[kind] else other
    )

    def two(made):
        made.configure(binds={Elsewhere: bound})
        return made

    [(error, journal)] = await run(kind, url, reach_another_database, factory=two)
    assert isinstance(error, StepError)
    assert "has several engines, and the step has reached sqlite" in str(error)
    assert journal == FAILED
    assert rows(url, "charges") == []
    with other.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM elsewhere")) == 0


async def close(session):
    await waited(session.close())


@pytest.mark.parametrize("kind", ["raw-psycopg", "psycopg-pool", "raw-psycopg-async", "psycopg-async-pool"])
async def test_a_step_that_closes_its_psycopg_connection_is_told_so_and_not_called_again(kind, url):
    calls = []

    async def body(session):
        calls.append(session)
        await close(session)

    [(error, journal)] = await run(kind, url, body)
    assert "has closed its connection" in str(error)
    assert len(calls) == 1
    assert journal == FAILED
    assert rows(url, "charges") == []


@pytest.mark.parametrize("number", [1205, 1213, 1305, 1264])
def test_an_application_s_own_error_is_none_of_mysql_s_although_it_has_such_a_number(number):
    assert meaning(KeyError(number)) == "other"


def test_mysql_s_own_errors_are_known_by_their_numbers():
    kind = type("OperationalError", (Exception,), {"__module__": "MySQLdb"})
    assert [meaning(kind(number, "...")) for number in (1213, 1305, 1264, 1062)] == ["again", "ended", "value", "other"]

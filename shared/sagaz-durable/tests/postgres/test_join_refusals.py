"""Sessions that a run cannot join, and what their owners are told."""

from __future__ import annotations

import secrets
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa
from pg import at, database
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool
from transactions import POSTGRES, transaction

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store, migrate
from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.joining import joining
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.transactions.sessions import UnsupportedSession, join, join_sync
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.errors import SagazError, StoreUnavailable, WrongDatabase

pytestmark = pytest.mark.anyio

RUN = NewRun("x", "OrderSaga", "{}", "f1")


@pytest.mark.parametrize("kind", POSTGRES)
@pytest.mark.parametrize("theirs", ["has no sagaz tables", "has the tables of another store"])
async def test_another_database_is_refused_and_the_transaction_goes_on(kind, theirs, postgres_server, store):
    with database(postgres_server) as url:
        if "another store" in theirs:
            await migrate(Settings(storage_url=url, schema=store.joining.identify.text.split('"')[1]))
        async with transaction(kind, url) as tx:
            await tx.order("before")
            with pytest.raises(WrongDatabase) as refused:
                await tx.start(store, RUN)
            await tx.order("after")
            await tx.commit()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)
    message = str(refused.value)
    assert theirs in message
    assert url.rpartition("/")[2].partition("?")[0] in message or url.split("/")[3].partition("?")[0] in message
    assert store.joining.shown in message
    assert "SAGAZ_STORAGE_URL" in message


async def test_the_same_database_is_asked_for_once_an_engine(store, shared_postgres_url):
    engine = sa.create_engine(at(shared_postgres_url, driver="psycopg"))
    statements = []
    sa.event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for number in range(3):
        with Session(engine) as session:
            join_sync(session, store, [NewRun(f"x{number}", "OrderSaga", "{}", "f1")])
            session.commit()
    engine.dispose()
    assert len(statements) == 3 + 2


@pytest.mark.parametrize("kind", POSTGRES)
async def test_passwords_are_not_shown(kind, postgres_server, store):
    with database(postgres_server) as url:
        async with transaction(kind, at(url, user="postgres:hunter2")) as tx:
            with pytest.raises(WrongDatabase) as refused:
                await tx.start(store, RUN)
    secret = create_store(Settings(storage_url="postgresql://u:hunter2@localhost/db"))
    assert "hunter2" not in f"{refused.value}{secret.database.address}{secret.database.shown}"


async def test_another_kind_of_database_is_refused(store, tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=NullPool)
    with Session(engine) as session, pytest.raises(WrongDatabase, match="is another kind of database"):
        join_sync(session, store, [RUN])


async def test_another_sqlite_file_is_refused(tmp_path):
    store = SQLiteStore(ConnectionThread(tmp_path / "ours.db"))
    await store.open()
    ours = SimpleNamespace(joining=joining(str(tmp_path / "ours.db"), await store.store_id()))
    for name in ("theirs.db", "another.db"):
        if name == "another.db":
            another = SQLiteStore(ConnectionThread(tmp_path / name))
            await another.open()
            await another.close()
        engine = sa.create_engine(f"sqlite:///{tmp_path / name}", poolclass=NullPool)
        with Session(engine) as session, pytest.raises(WrongDatabase, match=f"{name}.*ours.db"):
            join_sync(session, ours, [RUN])
    await store.close()


async def test_what_is_no_session_is_named_with_what_is_accepted(store, shared_postgres_url):
    engine = sa.create_engine(at(shared_postgres_url, driver="psycopg"))
    async_engine = create_async_engine(at(shared_postgres_url, driver="psycopg"))
    wrongs = {"builtins.object.*Accepted are SQLAlchemy's": object(), "NoneType": None, "pass a session": engine}
    for hint, wrong in wrongs.items():
        with pytest.raises(UnsupportedSession, match=hint):
            await join(wrong, store, [RUN])
    with pytest.raises(TypeError, match="pass a session"):
        await join(async_engine, store, [RUN])


async def test_an_asynchronous_session_needs_await(store, shared_postgres_url):
    async with AsyncSession(create_async_engine(at(shared_postgres_url, driver="asyncpg"))) as session:
        with pytest.raises(UnsupportedSession, match="use `await`"):
            join_sync(session, store, [RUN])


async def test_a_connection_of_psycopgs_that_commits_in_two_phases_is_refused(store, shared_postgres_url):
    with psycopg.connect(shared_postgres_url) as connection:
        connection.tpc_begin(connection.xid(1, "orders", "branch"))
        with pytest.raises(UnsupportedSession, match=r"two phases \(tpc_begin\).*NOTIFY.*without tpc_begin"):
            join_sync(connection, store, [RUN])
        connection.tpc_rollback()
        connection.execute("SELECT 1")
        assert join_sync(connection, store, [RUN])[0].created
        connection.rollback()
    async with await psycopg.AsyncConnection.connect(shared_postgres_url) as connection:
        await connection.tpc_begin(connection.xid(1, "orders", "branch"))
        with pytest.raises(UnsupportedSession, match="two phases"):
            await join(connection, store, [RUN])
        await connection.tpc_rollback()


async def test_a_session_that_commits_in_two_phases_is_refused(store, shared_postgres_url):
    engine = sa.create_engine(at(shared_postgres_url, driver="psycopg"))
    with Session(engine, twophase=True) as session, pytest.raises(UnsupportedSession, match=r"twophase=True.*NOTIFY"):
        join_sync(session, store, [RUN])
    with engine.connect() as connection:
        connection.begin_twophase()
        with pytest.raises(UnsupportedSession, match="two phases"):
            join_sync(connection, store, [RUN])
    engine.dispose()
    async_engine = create_async_engine(at(shared_postgres_url, driver="psycopg"))
    async with AsyncSession(async_engine, twophase=True) as session:
        with pytest.raises(UnsupportedSession, match="two phases"):
            await join(session, store, [RUN])
    await async_engine.dispose()


async def test_a_session_with_binds_only_is_told_to_pass_a_connection(store, shared_postgres_url):
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = f"orders_{secrets.token_hex(4)}"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = sa.create_engine(at(shared_postgres_url, driver="psycopg"))
    with Session(binds={Order: engine}) as session:
        with pytest.raises(UnsupportedSession, match="bind_arguments"):
            join_sync(session, store, [RUN])
        connection = session.connection(bind_arguments={"bind": engine})
        assert join_sync(connection, store, [RUN])[0].created
    engine.dispose()


async def test_a_store_without_a_database_or_not_open_is_named(settings):
    store = MemoryStore()
    await store.open()
    with pytest.raises(SagazError, match="memory store can join"):
        await join(object(), store, [RUN])
    with pytest.raises(StoreUnavailable, match="is not open"):
        await join(object(), create_store(settings), [RUN])

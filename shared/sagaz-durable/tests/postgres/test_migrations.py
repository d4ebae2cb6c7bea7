"""The tables are made once, by whoever comes first, and used by whoever may."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys

import psycopg
import pytest
from pg import at

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store, migrate
from sagaz_durable.stores.postgresql.store import PostgresStore
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import NewRun, RunWrite, StepWrite
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.errors import SettingsError, StoreNotMigrated, StoreUnavailable

pytestmark = pytest.mark.anyio

KNOWN = {"OrderSaga": ()}

MIGRATE = """
import asyncio, sys
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store, migrate
async def main(url, schema):
    print(await migrate(Settings(storage_url=url, schema=schema)))
    store = create_store(Settings(storage_url=url, schema=schema, migrate=True))
    await store.open()
    print(await store.store_id())
    await store.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_twenty_processes_migrate_at_once(postgres_url):
    command = [sys.executable, "-c", MIGRATE, postgres_url, "new_schema"]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [await asyncio.to_thread(subprocess.Popen, command, **options) for _ in range(20)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [(await asyncio.to_thread(child.communicate))[0].splitlines() for child in children]
    assert all(child.returncode == 0 for child in children)
    assert sorted(done for done, _ in outputs) == ["['0001_initial']"] + ["[]"] * 19
    assert len({store_id for _, store_id in outputs}) == 1


async def test_the_tables_have_the_columns_of_every_store(store, settings):
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as connection:
        for table, columns in TABLES.items():
            query = (
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
                "ORDER BY ordinal_position"
            )
            rows = await (await connection.execute(query, [settings.schema, table])).fetchall()
            assert tuple(row[0] for row in rows) == columns


async def test_missing_tables_are_told_with_the_command(postgres_url):
    for schema in (None, "nowhere"):
        with pytest.raises(StoreNotMigrated, match=r"Run the command migrate, or have .*SAGAZ_MIGRATE to true"):
            await create_store(Settings(storage_url=postgres_url, schema=schema)).open()


async def test_without_a_schema_the_search_path_decides_once(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA tenant")
    theirs = f"{postgres_url}&options=-csearch_path%3Dtenant"
    assert await migrate(Settings(storage_url=theirs)) == ["0001_initial"]
    with pytest.raises(StoreNotMigrated, match="search_path"):
        await create_store(Settings(storage_url=postgres_url)).open()
    store = create_store(Settings(storage_url=theirs))
    await store.open()
    assert '"tenant".sagaz_run' in store.joining.find(["x"]).text
    await store.close()
    with pytest.raises(StoreUnavailable, match="SAGAZ_SCHEMA"):
        await migrate(Settings(storage_url=f"{postgres_url}&options=-csearch_path%3Dnowhere"))


async def test_stores_in_two_schemas_of_a_database_are_two(settings):
    stores = [
        create_store(Settings(storage_url=settings.storage_url, schema=f"t_{secrets.token_hex(6)}", migrate=True))
        for _ in range(2)
    ]
    for store in stores:
        await store.open()
    await stores[0].insert([NewRun("x", "OrderSaga", "{}", "f1")], 30)
    assert [len(await store.find(RunFilter())) for store in stores] == [1, 0]
    assert await stores[0].store_id() != await stores[1].store_id()
    for store in stores:
        await store.close()


@pytest.mark.parametrize(("version", "compatible", "usable"), [("0", "0", False), ("2", "1", True), ("3", "2", False)])
async def test_other_versions_of_the_tables(store, settings, version, compatible, usable):
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as connection:
        for key, value in (("schema_version", version), ("schema_compatible", compatible)):
            update = f"UPDATE {settings.schema}.sagaz_meta SET value = %s WHERE key = %s"
            await connection.execute(update.encode(), [value, key])
    other = create_store(Settings(storage_url=settings.storage_url, schema=settings.schema))
    if usable:
        await other.open()
        assert await migrate(settings) == []
    else:
        with pytest.raises(StoreNotMigrated, match=f"version {version}"):
            await other.open()
    await other.close()


async def test_a_user_without_rights_to_create_uses_what_was_migrated(postgres_url):
    role = f"app_{secrets.token_hex(4)}"
    schema = "sagas"
    settings = Settings(storage_url=at(postgres_url, user=role), schema=schema, migrate=True)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            with pytest.raises(StoreUnavailable, match=r"permission denied.*Grant"):
                await create_store(settings).open()
            await migrate(Settings(storage_url=postgres_url, schema=schema))
            with pytest.raises(StoreUnavailable, match=r"permission denied.*Grant"):
                await create_store(settings).open()
            connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
            rights = "SELECT, INSERT, UPDATE, DELETE"
            connection.execute(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}".encode())
            await _use(create_store(settings))
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


async def _use(store: PostgresStore) -> None:
    await store.open()
    await store.insert([NewRun("x", "OrderSaga", "{}", "f1")], 30)
    await store.claim("w1", 1, 30, KNOWN)
    steps, events = (StepWrite("pay", "do", "done"),), (EventWrite("e", "orders", "{}"),)
    assert await store.write([RunWrite("x", "w1", 1, steps, events, status="completed")]) == [True]
    await store.heartbeat("w1", 30)
    assert len(await store.due_events(1, 30)) == 1
    assert await store.delete("x")
    await store.close()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("pgbouncer=maybe", "expected pgbouncer=true or pgbouncer=false"),
        ("poolsize=3", "libpq does not know one of its parameters"),
        ("ssl_mode=require", "did you mean sslmode?"),
        ("connect_timeout=abc", "does not take this value of connect_timeout"),
        ("keepalives_idle=abc", "does not take this value of keepalives_idle"),
        ("sslmode=maybe", "does not take this value of sslmode"),
        ("target_session_attrs=maybe", "does not take this value of target_session_attrs"),
        ("port=70000", "does not take this value of port"),
        ("host=one,two&port=1,2,3", "does not take this value of"),
    ],
)
def test_a_parameter_that_the_driver_would_refuse_is_refused_at_once(query, message):
    with pytest.raises(SettingsError, match=re.escape(message)) as refused:
        create_store(Settings(storage_url=f"postgresql://u:hunter2@localhost/db?{query}"))
    assert "hunter2" not in str(refused.value)


def test_what_the_url_says_of_the_connection_goes_before_our_own():
    store = create_store(Settings(storage_url="postgresql://h/db?application_name=shop&connect_timeout=2"))
    assert "application_name=shop" in store.database.address.conninfo
    assert "connect_timeout=2" in store.database.address.conninfo
    assert "keepalives_idle=15" in store.database.address.conninfo

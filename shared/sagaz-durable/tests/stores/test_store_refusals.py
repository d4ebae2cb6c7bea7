"""What a database refuses, and what it can never store: told apart from an outage, and without the values."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, claimed, load, new, step, write
from sagaz_integration_core.errors import StoreUnavailable, UnstorableValue, WriteRefused

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-value"
HALF = "\ud800"


@pytest.fixture
def durable(store, request):
    if "memory" in request.node.name:
        pytest.skip("Memory stores every value, and refuses none.")
    return store


@pytest.fixture
def refuses(durable, tmp_path, request):
    """Have the table of steps refuse what is named ``refused``; called again, to refuse nothing."""
    if isinstance(durable, SQLiteStore):
        connection = sqlite3.connect(tmp_path / "sagaz.db")
        made = (
            "CREATE TRIGGER refuse BEFORE INSERT ON sagaz_step WHEN NEW.step = 'refused' "
            "BEGIN SELECT RAISE(ABORT, 'not today'); END"
        )
        dropped = "DROP TRIGGER refuse"
    else:
        connection = psycopg.connect(request.getfixturevalue("shared_postgres_url"), autocommit=True)
        schema = durable.database._found.schema
        made = (
            f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF NEW.step = 'refused' THEN RAISE EXCEPTION 'not today' USING DETAIL = NEW.result::text; "
            f"END IF; RETURN NEW; END $$; CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {schema}.sagaz_step "
            f"FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
        )
        dropped = f"DROP TRIGGER refuse ON {schema}.sagaz_step"
    connection.execute(made)
    yield lambda: connection.execute(dropped)
    connection.close()


async def test_a_refusal_is_no_outage_and_tells_the_databases_words_without_values(durable, refuses):
    run = await claimed(durable)
    entry = step("refused", "done", result=f'"{SECRET}"')
    with pytest.raises(WriteRefused, match="not today") as refusal:
        await durable.write([write(run, steps=(entry,), status="completed")])
    assert SECRET not in str(refusal.value)
    assert not isinstance(refusal.value, StoreUnavailable)
    assert (await load(durable, run.saga_id)).status == "executing"
    assert await durable.load_steps(run.saga_id) == []
    refuses()
    assert await durable.write([write(run, steps=(entry,), status="completed")]) == [True]


async def test_a_value_that_can_never_be_stored_is_told_as_such_and_not_shown(durable):
    run = await claimed(durable)
    with pytest.raises(UnstorableValue) as refusal:
        await durable.write([write(run, steps=(step("a", "failed", error=SECRET + HALF),))])
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None or SECRET not in repr(refusal.value.__cause__)
    assert await durable.load_steps(run.saga_id) == []
    with pytest.raises(UnstorableValue):
        await durable.insert([new(context=f'"{HALF}"')], LEASE)
    assert await durable.write([write(run, status="completed")]) == [True]
    assert await durable.claim("w1", 1, LEASE, KNOWN) == []


async def test_postgresql_can_never_store_a_nul_or_what_is_no_json_and_the_others_do(store):
    run = await claimed(store)
    if store.kind != "postgres":
        assert await store.write([write(run, steps=(step("a", "failed", error=f"{SECRET}\0"),))]) == [True]
        return
    for entry in (step("a", "failed", error=f"{SECRET}\0"), step("a", "done", result=f"{{{SECRET}")):
        with pytest.raises(UnstorableValue, match="SQLSTATE 22") as refusal:
            await store.write([write(run, steps=(entry,))])
        assert SECRET not in str(refusal.value)
    assert await store.write([write(run, status="completed")]) == [True]

"""In a caller's transaction his isolation level holds, and a conflict is his: raised as his driver raises it."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
from sagaz import Saga, action
from transactions import POSTGRES, Async, transaction

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import migrate
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import SagazError

pytestmark = pytest.mark.anyio


class Order(Saga):
    saga_name = "order"

    @action("charge")
    async def charge(self, ctx):
        return {"charged": True}


@pytest.fixture
async def runtime(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    runtime = SagazRuntime(Settings(storage_url=postgres_url), sagas=[Order])
    await runtime.open()
    yield runtime
    await runtime.close()


async def start(runtime, tx, key):
    """Start a run in a transaction, as an application does."""
    if isinstance(tx, Async):
        return await Sagas(runtime).start(Order, {}, session=tx.session, idempotency_key=key)
    return Sagas(runtime).start_sync(Order, {}, session=tx.session, idempotency_key=key)


async def execute(tx, statement):
    raw = isinstance(tx.session, psycopg.Connection | psycopg.AsyncConnection)
    done = tx.session.execute(statement if raw else sa.text(statement))
    return await done if isinstance(tx, Async) else done


async def begin_serializable(tx):
    await execute(tx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")


async def asked(tx, query):
    """Return the value that the transaction sees."""
    row = (await execute(tx, query)).fetchone()
    return (await row if hasattr(row, "__await__") else row)[0]


def code(error):
    """Return the SQLSTATE, under whatever name the driver has it."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


@pytest.mark.parametrize("kind", POSTGRES)
async def test_a_serializable_transaction_stays_so_and_its_conflict_is_raised_as_its_drivers(
    runtime, postgres_url, kind
):
    async with transaction(kind, postgres_url) as tx:
        await begin_serializable(tx)
        await tx.order("book")
        first = await start(runtime, tx, "mine")
        assert await asked(tx, "SHOW transaction_isolation") == "serializable"
        other = await Sagas(runtime).start(Order, {}, idempotency_key="others")
        with pytest.raises(Exception, match="could not serialize access") as raised:
            await start(runtime, tx, "others")
        assert not isinstance(raised.value, SagazError)
        assert code(raised.value) == "40001"
        await tx.rollback()
        assert {run.saga_id for run in await runtime.store.find(RunFilter())} == {other}
        # Begun anew, as after any conflict, it goes through.
        await begin_serializable(tx)
        assert await start(runtime, tx, "mine") == first
        assert await start(runtime, tx, "others") == other
        await tx.commit()
    assert {run.saga_id for run in await runtime.store.find(RunFilter())} == {first, other}


@pytest.mark.parametrize("kind", POSTGRES)
async def test_a_conflict_that_shows_at_the_commit_leaves_no_run(runtime, postgres_url, kind):
    """Two transactions that each read what the other writes: the second one's commit is refused."""
    counting = "SELECT count(*) FROM orders"
    async with transaction(kind, postgres_url) as tx:
        await begin_serializable(tx)
        assert await asked(tx, counting) == 0
        await tx.order("book")
        await start(runtime, tx, "mine")
        async with await psycopg.AsyncConnection.connect(postgres_url) as other:
            await other.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
            assert await (await other.execute(counting.encode())).fetchone() == (0,)
            await other.execute("INSERT INTO orders VALUES ('pen')")
        with pytest.raises(Exception, match="could not serialize access") as raised:
            await tx.commit()
        assert code(raised.value) == "40001"
        await tx.rollback()
    assert await runtime.store.find(RunFilter()) == []

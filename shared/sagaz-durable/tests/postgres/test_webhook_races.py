"""Two deliveries of one event at the same moment, of which the second cannot see what the first one has recorded."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from sagaz_durable.stores.postgresql.database.errors import RowsLocked
from sagaz_durable.testing.store_conformance.builders import claim_all
from sagaz_durable.testing.store_conformance.webhooks.events import received, sending, starting
from sagaz_integration_core.contract.waits import SignalFilter
from sagaz_integration_core.contract.webhooks import TOLD_OTHERWISE, WebhookFilter

pytestmark = pytest.mark.anyio

RECORD = """
INSERT INTO {schema}.sagaz_webhook (id, source, delivery_id, handler, received_at, outcome, fingerprint)
VALUES (%s, %s, %s, %s, now(), 'started', 'of the first')
"""
SIGNAL = """
INSERT INTO {schema}.sagaz_signal (id, name, key, signal_id, payload, fingerprint, created_at)
VALUES (%s, 'paid', 'pi_1', 'evt_1', '{{}}', 'f', now())
"""
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"


@pytest.mark.parametrize("second", [starting(fingerprint="of the second"), sending(key="pi_1")], ids=["run", "signal"])
async def test_the_second_one_with_another_meaning_leads_to_nothing_and_is_quarantined(store, settings, second):
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as first:
        values = (second.id, second.source, second.delivery_id, second.handler)
        await first.execute(RECORD.format(schema=settings.schema).encode(), values)
        receiving = asyncio.create_task(received(store, second))
        async with (
            asyncio.timeout(20),
            await psycopg.AsyncConnection.connect(settings.storage_url, autocommit=True) as watch,
        ):
            while await (await watch.execute(BLOCKED, [first.info.backend_pid])).fetchone() != (1,):
                await asyncio.sleep(0)
        await first.commit()
        assert await receiving == [("started", None), ("quarantined", TOLD_OTHERWISE)]
    assert await claim_all(store) == []
    assert await store.find_signals(SignalFilter()) == []


async def test_an_open_transaction_that_sends_the_same_signal_is_not_waited_for_long(store, settings):
    given = sending(key="pi_1")
    async with await psycopg.AsyncConnection.connect(settings.storage_url) as caller:
        await caller.execute(SIGNAL.format(schema=settings.schema).encode(), (given.signal.id,))
        with pytest.raises(RowsLocked):
            await asyncio.wait_for(received(store, given), 30)
        await caller.rollback()
    assert await store.find_webhooks(WebhookFilter()) == []
    assert await received(store, given) == [("early", None)]

"""A process that starts a run and sends a signal in a transaction, says so, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

from transactions import SQLITE, transaction

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.joining import joining
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.contract.waits import NewSignal


async def main(kind: str, url: str) -> None:
    if kind in SQLITE:
        sqlite_store = SQLiteStore(ConnectionThread(url))
        await sqlite_store.open()
        place = SimpleNamespace(joining=joining(url, await sqlite_store.store_id()))
    else:
        store = create_store(Settings(storage_url=url))
        await store.open()
        place = SimpleNamespace(joining=store.joining)
    async with transaction(kind, url) as tx:
        await tx.order("book")
        await tx.start(place, NewRun("doomed", "OrderSaga", "{}", "f1"))
        await tx.signal(place, NewSignal("doomed", "paid", None, "pi_1", "", "{}", "f1"))
        sys.stdout.write("started\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(*sys.argv[1:]))

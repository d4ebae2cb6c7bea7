"""A process that takes webhooks and executes runs: their trigger allows two at once, of all processes together.

Called with the store's address, its schema, the ledger that steps write, a name, and how many events it takes.
"""

from __future__ import annotations

import asyncio
import json
import sys

from sagaz.core.triggers import trigger

from sagaz_durable import Saga, action
from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.intake.api import WebhookApi
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.webhooks.sources import Unsigned

URL, SCHEMA, LEDGER, NAME = sys.argv[1:5]
EVENTS = int(sys.argv[5])


def note(text: str) -> None:
    with open(LEDGER, "a") as ledger:
        ledger.write(f"{text}\n")


class Limited(Saga):
    saga_name = "limited"

    @trigger(source="shop", max_concurrent=2)
    def on_order(self, event):
        return {"order": event["id"]}

    @action("first")
    async def first(self, ctx):
        note(f"+ {ctx['order']}")
        await asyncio.sleep(0.02)

    @action("last", depends_on=["first"])
    async def last(self, ctx):
        await asyncio.sleep(0.02)
        note(f"- {ctx['order']}")


async def main() -> None:
    settings = Settings(storage_url=URL, schema=SCHEMA, poll_seconds=0.05)
    runtime = SagazRuntime(settings, sagas=[Limited], worker=True)
    await runtime.open()
    await runtime.begin()
    api = WebhookApi(runtime, {"shop": Unsigned(delivery_member="id")}, lambda function: function)

    async def deliver(number: int) -> None:
        body = json.dumps({"id": f"{NAME}-{number}"}).encode()
        answer = await api.receive(
            HttpRequest("POST", "/webhooks/shop", "", (("content-type", "application/json"),), body), "shop"
        )
        assert answer.status == 200, answer

    await asyncio.gather(*map(deliver, range(EVENTS)))
    while (await runtime.store.stats()).counts.get("completed", 0) < 2 * EVENTS:
        await asyncio.sleep(0.05)
    await runtime.close()


asyncio.run(main())

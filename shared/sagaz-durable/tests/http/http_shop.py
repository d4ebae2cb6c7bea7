"""One application on memory, its sagas, and requests that need no framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from sagaz_durable import Saga, action, compensate
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.records import FINISHED


class Order(Saga):
    saga_name = "order"

    @action("reserve")
    async def reserve(self, ctx):
        return {"reservation": "R-1", "secret": "s3cret"}

    @compensate("reserve")
    async def release(self, ctx): ...

    @action("charge", depends_on=["reserve"], max_retries=0)
    async def charge(self, ctx):
        if ctx.get("declined"):
            raise ValueError("card 4111 was declined")
        if ctx.get("asks"):
            await current_step().signal("asked")
        if ctx.get("waits"):
            return {"paid": (await current_step().signal("paid"))["amount"]}
        return None


class Shop:
    """An application: who asks, and what it permits, are attributes that a test sets."""

    def __init__(self, runtime: SagazRuntime) -> None:
        self.runtime = runtime
        self.sagas = Sagas(runtime)
        self.rules: dict[str, Any] = {"authorize": lambda *_: True, "actor": lambda request: request}

    @property
    def api(self) -> SagaApi:
        return SagaApi(self.runtime, ApiRules(**self.rules), wait=self.sagas.wait)

    async def started(self, wanted: str = "completed", *, owner: str | None = None, **context: Any) -> str:
        """Start a run and return its id when it has this status."""
        saga_id = await self.sagas.start(Order, context, owner=owner)
        await self.until(saga_id, wanted)
        return saga_id

    async def until(self, saga_id: str, *wanted: str) -> None:
        async with asyncio.timeout(20):
            while (run := await self.runtime.store.load(saga_id)).status not in wanted:
                assert run.status not in FINISHED, run
                await asyncio.sleep(0.005)

    async def ended(self, saga_id: str) -> None:
        await self.until(saga_id, *FINISHED)

    async def status(self, saga_id: str) -> str:
        return (await self.runtime.store.load(saga_id)).status


def ask(
    method: str = "GET", query: str = "", body: Any = None, headers: Mapping[str, str] | None = None, by: str = "mia"
) -> HttpRequest:
    """A request; ``by`` is what the application knows of who sent it."""
    given = {"host": "shop.example", **(headers or {})}
    raw = b""
    if body is not None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given.setdefault("content-type", "application/json")
    return HttpRequest(method, "/sagas", query, tuple(given.items()), raw, by)


def read(answer: HttpResponse) -> Any:
    """The JSON of an answer."""
    return json.loads(answer.body)

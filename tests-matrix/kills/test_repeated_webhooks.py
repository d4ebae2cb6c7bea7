"""A sender that repeats its event to whatever process is there starts or resumes one run, whoever dies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from kills.servers import GUNICORN, MIGRATE, Served, Servers
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.webhooks import WebhookFilter
from support.waiting import until

DELIVERIES = 50

PATH = "/webhooks/shop"
DJANGO = {"DJANGO_SETTINGS_MODULE": "kills.webhook_django.settings"}
DJANGO_WORKER = ["-m", "django", "sagaz_worker"]
APPLICATIONS = {
    "fastapi": Served(
        "fastapi_sagaz", ["-m", "uvicorn", "kills.webhook_fastapi:app"], path=PATH, env={"SAGAZ_MIGRATE": "1"}
    ),
    "flask": Served(
        "flask_sagaz", [*GUNICORN, "kills.webhook_flask:app"], path=PATH, env={"SAGAZ_MIGRATE": "1"},
        worker=["-m", "flask", "--app", "kills.webhook_flask", "sagaz", "worker"],
    ),
    "django": Served(
        "django_sagaz", [*GUNICORN, "kills.webhook_django.applications:wsgi()"], path=PATH,
        env=DJANGO, tables=MIGRATE, worker=DJANGO_WORKER,
    ),
    "django-async": Served(
        "django_sagaz",
        ["-m", "uvicorn", "--factory", "kills.webhook_django.applications:asgi", "--lifespan", "off"],
        path="/webhooks/async/shop", env=DJANGO, tables=MIGRATE, worker=DJANGO_WORKER,
    ),
}  # fmt: skip

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def signed(delivery_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of a delivery that is made now, as Standard Webhooks has them."""
    now = str(int(time.time()))
    signature = hmac.new(KEY, f"{delivery_id}.{now}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


class Sender:
    """Delivers events as senders do: again, to whichever process it reaches, until they are acknowledged."""

    def __init__(self, http: httpx.AsyncClient, address: Callable[[int], str]) -> None:
        self._http = http
        self._address = address

    async def deliver(self, delivery_id: str, event: dict[str, Any], first: int = 0) -> tuple[int, bytes]:
        body = json.dumps(event).encode()
        for attempt in range(first, first + 500):
            try:
                answer = await self._http.post(self._address(attempt), content=body, headers=signed(delivery_id, body))
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code != 503:
                return answer.status_code, answer.content
            await asyncio.sleep(float(answer.headers["Retry-After"]) / 4)
        raise AssertionError("not acknowledged")

    async def repeat(self, delivery_id: str, event: dict[str, Any], number: int) -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(self.deliver(delivery_id, event, first) for first in range(number)))


@pytest.mark.parametrize("application", APPLICATIONS)
async def test_fifty_deliveries_of_an_event_over_three_processes_one_of_which_is_killed(
    tmp_path, url, application, monkeypatch
) -> None:
    served, ledger = APPLICATIONS[application], tmp_path / "ledger"
    pytest.importorskip(served.package)
    monkeypatch.setenv("KILLS_LEDGER", str(ledger))
    servers = Servers(served, tmp_path, url)
    ordered, paid = {"type": "ordered", "order": "o-1"}, {"type": "paid", "order": "o-1", "amount": 42}
    try:
        async with httpx.AsyncClient(
            timeout=60, trust_env=False, limits=httpx.Limits(max_connections=100, max_keepalive_connections=0)
        ) as http:
            await until(lambda: servers.are_up(http), "the servers answer", 60)
            sender = Sender(http, servers.address)
            first = asyncio.create_task(sender.deliver("e-1", ordered))
            await until(lambda: asyncio.to_thread(servers.held.exists), "an event was stored, and not answered", 60)
            # It is committed by the process that dies now, with what it leads to.
            assert [json.loads(run.context)["order"] for run in await _runs(url)] == ["o-1"]
            others = asyncio.create_task(sender.repeat("e-1", ordered, DELIVERIES - 1))
            servers.kill_the_one_that_is_held()
            answers = [await first, *await others]
            await until(lambda: _is(url, "waiting"), "the run waits", 60)
            answers += await sender.repeat("e-2", paid, DELIVERIES)
            await until(lambda: _is(url, "completed"), "the run has ended", 60)
            answers += await sender.repeat("e-1", ordered, 3) + await sender.repeat("e-2", paid, 3)
    finally:
        servers.close()
    assert Counter(answers) == {(200, b'{"received": true}'): 2 * DELIVERIES + 6}
    assert ledger.read_text() == "o-1\n"
    [run] = await _runs(url)
    assert run.status == "completed"
    assert Counter(event.outcome for event in await _events(url)) == {"started": 1, "resumed": 1}


async def _is(url: str, status: str) -> bool:
    return [run.status for run in await _runs(url)] == [status]


async def _runs(url: str) -> list:
    store = create_store(Settings(storage_url=url))
    await store.open()
    try:
        return await store.find(RunFilter())
    finally:
        await store.close()


async def _events(url: str) -> list:
    store = create_store(Settings(storage_url=url))
    await store.open()
    try:
        return await store.find_webhooks(WebhookFilter())
    finally:
        await store.close()

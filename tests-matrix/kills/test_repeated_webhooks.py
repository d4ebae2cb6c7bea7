"""A sender that repeats its event to whatever process is there starts or resumes one run, whoever dies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from kills.servers import Server
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.webhooks import WebhookFilter
from support.waiting import until

pytest.importorskip("fastapi_sagaz")

DELIVERIES = 50
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


async def _delivered(
    http: httpx.AsyncClient, servers: list[Server], first: int, delivery_id: str, event: dict[str, Any]
) -> tuple[int, bytes]:
    """Deliver an event as senders do: again, to whichever server it reaches, until it is acknowledged."""
    body = json.dumps(event).encode()
    for attempt in range(200):
        server = servers[(first + attempt) % len(servers)]
        try:
            answer = await http.post(f"{server.address}/webhooks/shop", content=body, headers=signed(delivery_id, body))
        except httpx.TransportError:
            continue
        if answer.status_code != 503:
            return answer.status_code, answer.content
        await asyncio.sleep(float(answer.headers["Retry-After"]) / 4)
    raise AssertionError(f"not acknowledged: {answer.text}")


async def test_fifty_deliveries_of_an_event_over_three_processes_one_of_which_is_killed(tmp_path, url) -> None:
    held, ledger = tmp_path / "held", tmp_path / "ledger"
    variables = [{"KILLS_LEDGER": str(ledger)} for _ in range(3)]
    variables[0]["KILLS_HOLD"] = str(held)
    servers = [Server(tmp_path, "kills.webhook_app:app", url, n, **variables[n]) for n in range(3)]
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    ordered, paid = {"type": "ordered", "order": "o-1"}, {"type": "paid", "order": "o-1", "amount": 42}
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
            for server in servers:
                await until(lambda server=server: server.is_up(http), "the server answers", 60)

            async def repeated(delivery_id: str, event: dict[str, Any], number: int) -> list[tuple[int, bytes]]:
                some = (_delivered(http, servers, n, delivery_id, event) for n in range(1, number + 1))
                return await asyncio.gather(*some)

            first = asyncio.create_task(_delivered(http, servers, 0, "e-1", ordered))
            await until(lambda: asyncio.to_thread(held.exists), "an event was stored, and not acknowledged", 60)
            # It is committed by the process that dies now, with what it leads to.
            assert [json.loads(run.context) for run in await _runs(url)] == [{"order": "o-1"}]
            others = asyncio.create_task(repeated("e-1", ordered, DELIVERIES - 1))
            servers[0].program.kill()
            answers = [await first, *await others]
            answers += await repeated("e-2", paid, DELIVERIES)
            await until(lambda: _has_ended(url), "the run has ended", 60)
            answers += await repeated("e-1", ordered, 3) + await repeated("e-2", paid, 3)
    finally:
        for server in servers:
            server.program.close()
    assert Counter(answers) == {(200, b'{"received": true}'): 2 * DELIVERIES + 6}
    assert ledger.read_text() == "o-1\n"
    [run] = await _runs(url)
    assert run.status == "completed"
    assert Counter(event.outcome for event in await _events(url)) == {"started": 1, "resumed": 1}


async def _has_ended(url: str) -> bool:
    return [run.status for run in await _runs(url)] == ["completed"]


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

"""A client that repeats its request to whatever process is there gets one run and one answer, whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from kills.servers import Server
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from support.waiting import until

pytest.importorskip("fastapi_sagaz")

REQUESTS = 50


async def _answered(http: httpx.AsyncClient, servers: list[Server], first: int) -> tuple[int, bytes]:
    """Send a request as a client does that wants an answer: again, elsewhere, until there is one."""
    for attempt in range(200):
        server = servers[(first + attempt) % len(servers)]
        try:
            answer = await http.post(
                f"{server.address}/orders", json={"order": 5}, headers={"Idempotency-Key": '"order-5"'}
            )
        except httpx.TransportError:
            continue
        if answer.status_code not in (409, 503):
            return answer.status_code, answer.content
        await asyncio.sleep(float(answer.headers["Retry-After"]) / 4)
    raise AssertionError(f"no answer: {answer.text}")


async def test_fifty_equal_requests_over_three_processes_one_of_which_is_killed(tmp_path, url) -> None:
    held = tmp_path / "held"
    servers = [
        Server(tmp_path, "kills.repeated_app:app", url, n, **({"KILLS_HOLD": str(held)} if n == 0 else {}))
        for n in range(3)
    ]
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
            for server in servers:
                await until(lambda server=server: server.is_up(http), "the server answers", 60)
            first = asyncio.create_task(_answered(http, servers, 0))
            await until(lambda: asyncio.to_thread(held.exists), "a run was started, and not answered", 60)
            others = [asyncio.create_task(_answered(http, servers, n)) for n in range(1, REQUESTS)]
            await until(lambda: asyncio.to_thread(_has_refused, servers[1:]), "others are told to come again", 60)
            servers[0].program.kill()
            answers = await asyncio.gather(first, *others)
    finally:
        for server in servers:
            server.program.close()
    assert Counter(answers) == {answers[0]: REQUESTS}
    assert answers[0][0] == 202
    [run] = await _runs(url)
    assert run.saga_id in answers[0][1].decode()


def _has_refused(servers: list[Server]) -> bool:
    return any("409 Conflict" in server.program.tail(100_000) for server in servers)


async def _runs(url: str) -> list:
    store = create_store(Settings(storage_url=url))
    await store.open()
    try:
        return await store.find(RunFilter())
    finally:
        await store.close()

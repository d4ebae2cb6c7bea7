"""A client that repeats its request to whatever process is there gets one run and one answer, whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from kills.servers import GUNICORN, MIGRATE, Served, Servers
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from support.waiting import until

REQUESTS = 50

DJANGO = {"DJANGO_SETTINGS_MODULE": "kills.repeated_django.settings"}
APPLICATIONS = {
    "fastapi": Served("fastapi_sagaz", ["-m", "uvicorn", "kills.repeated_fastapi:app"], env={"SAGAZ_MIGRATE": "1"}),
    "flask": Served("flask_sagaz", [*GUNICORN, "kills.repeated_flask:app"], env={"SAGAZ_MIGRATE": "1"}),
    "django": Served(
        "django_sagaz", [*GUNICORN, "django.core.wsgi:get_wsgi_application()"], env=DJANGO, tables=MIGRATE
    ),
    "django-async": Served(
        "django_sagaz",
        ["-m", "uvicorn", "--factory", "django.core.asgi:get_asgi_application", "--lifespan", "off"],
        path="/async/orders", env=DJANGO, tables=MIGRATE,
    ),
}  # fmt: skip


class Client:
    """A client that wants an answer to one request.

    Attributes:
        told_to_wait: Whether it was told to come again.
    """

    def __init__(self, http: httpx.AsyncClient, address: Callable[[int], str], first: int) -> None:
        self._http = http
        self._address = address
        self._first = first
        self.told_to_wait = False

    async def answer(self) -> tuple[int, bytes]:
        """Send it again, elsewhere, until there is one."""
        headers = {"Idempotency-Key": '"order-5"'}
        for attempt in range(self._first, self._first + 500):
            try:
                answer = await self._http.post(self._address(attempt), json={"order": 5}, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code not in (409, 503):
                return answer.status_code, answer.content
            self.told_to_wait = True
            await asyncio.sleep(float(answer.headers["Retry-After"]) / 4)
        raise AssertionError("no answer")


@pytest.mark.parametrize("application", APPLICATIONS)
async def test_fifty_equal_requests_over_three_processes_one_of_which_is_killed(tmp_path, url, application) -> None:
    served = APPLICATIONS[application]
    pytest.importorskip(served.package)
    servers = Servers(served, tmp_path, url)
    try:
        async with httpx.AsyncClient(
            timeout=60, trust_env=False, limits=httpx.Limits(max_connections=100, max_keepalive_connections=0)
        ) as http:
            await until(lambda: servers.are_up(http), "the servers answer", 60)
            clients = [Client(http, servers.address, n) for n in range(REQUESTS)]
            first = asyncio.create_task(clients[0].answer())
            await until(lambda: asyncio.to_thread(servers.held.exists), "a run was started, and not answered", 60)
            others = [asyncio.create_task(client.answer()) for client in clients[1:]]

            async def others_wait() -> bool:
                return any(client.told_to_wait for client in clients[1:])

            await until(others_wait, "others are told to come again", 60)
            servers.kill_the_one_that_is_held()
            answers = await asyncio.gather(first, *others)
    finally:
        servers.close()
    assert Counter(answers) == {answers[0]: REQUESTS}
    assert answers[0][0] == 202
    [run] = await _runs(url)
    assert run.saga_id in answers[0][1].decode()


async def _runs(url: str) -> list:
    store = create_store(Settings(storage_url=url))
    await store.open()
    try:
        return await store.find(RunFilter())
    finally:
        await store.close()

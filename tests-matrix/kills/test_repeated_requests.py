"""A client that repeats its request to whatever process is there gets one run and one answer, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from support import pg
from support.programs import Program, environment, free_port
from support.waiting import until

REQUESTS, PROCESSES = 50, 3

GUNICORN = ["-m", "gunicorn", "--preload", "--workers", str(PROCESSES), "--timeout", "300"]


@dataclass(frozen=True)
class Served:
    """An application, and how it is served.

    Attributes:
        command: Without a place to listen at. gunicorn's forks its processes; of other servers there are several.
        tables: What makes the tables, where the application does not.
    """

    package: str
    command: list[str]
    path: str = "/orders"
    env: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    @property
    def forks(self) -> bool:
        return self.command[1] == "gunicorn"


DJANGO = {"DJANGO_SETTINGS_MODULE": "kills.repeated_django.settings"}
MIGRATE = ["-m", "django", "migrate", "--verbosity", "0"]
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


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'sagaz.db'}"
        return
    if reason := pg.why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    with ExitStack() as stack:
        yield stack.enter_context(pg.database(stack.enter_context(pg.shared_server("repeated"))))


class Servers:
    """The processes of one application."""

    def __init__(self, served: Served, folder: Path, url: str) -> None:
        self.held = folder / "held"
        self._path = served.path
        pace = {"SAGAZ_LEASE_SECONDS": "2", "SAGAZ_RENEW_SECONDS": "0.5", "SAGAZ_ANSWER_WAIT_SECONDS": "0.5"}
        env = environment(SAGAZ_STORAGE_URL=url, KILLS_HELD=str(self.held), **pace, **served.env)
        if served.tables:
            subprocess.run([sys.executable, *served.tables], env=env, check=True)
        self._ports = [free_port() for _ in range(1 if served.forks else PROCESSES)]
        self._programs = []
        for port in self._ports:
            place = ["--bind", f"127.0.0.1:{port}"] if served.forks else ["--port", str(port)]
            program = Program([sys.executable, *served.command, *place], folder / f"server-{port}.log", env)
            self._programs.append(program)
            program.start()

    def address(self, number: int) -> str:
        return f"http://127.0.0.1:{self._ports[number % len(self._ports)]}{self._path}"

    async def are_up(self, http: httpx.AsyncClient) -> bool:
        for program, port in zip(self._programs, self._ports, strict=True):
            assert program.exitcode is None, program.tail()
            try:
                (await http.get(f"http://127.0.0.1:{port}/up")).raise_for_status()
            except httpx.TransportError:
                return False
        return True

    def kill_the_one_that_is_held(self) -> None:
        """SIGKILL."""
        os.kill(int(self.held.read_text()), signal.SIGKILL)

    def close(self) -> None:
        for program in self._programs:
            children = program.children()
            program.close()
            # What a master has forked does not end with it at once.
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)


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

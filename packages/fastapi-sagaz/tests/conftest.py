"""Applications served in the test's own event loop, sagas that keep a ledger, and conditions with deadlines."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sagaz import Saga, action, compensate
from shop_processes import Shop

from fastapi_sagaz._asgi_lifespan import entered
from sagaz_integration_core.contract.records import FINISHED


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _only_the_tests_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SAGAZ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAGAZ_POLL_SECONDS", "0.05")
    monkeypatch.setenv("SAGAZ_BACKOFF_SECONDS", "0.01")
    monkeypatch.setenv("SAGAZ_DRAIN_SECONDS", "5")


@pytest.fixture
def storage_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'sagas.db'}"


@asynccontextmanager
async def _serve(app: Any, *, raise_app_exceptions: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    async with entered(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(app=with_state, raise_app_exceptions=raise_app_exceptions)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Enters an application's lifespan and gives a client, as a server would."""
    return _serve


@pytest.fixture
def websocket() -> Callable[..., Any]:
    """Talks to a WebSocket route, and returns what the application sent."""

    async def talk(app: Any, path: str, *texts: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[Any]:
        incoming: asyncio.Queue[Any] = asyncio.Queue()
        incoming.put_nowait({"type": "websocket.connect"})
        for text in texts:
            incoming.put_nowait({"type": "websocket.receive", "text": text})
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": list(headers)}
        scope.update(query_string=b"", scheme="ws", subprotocols=[], extensions={"websocket.http.response": {}})
        await app(scope, incoming.get, send)
        return sent

    return talk


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition, which may be asynchronous, and returns what it returned; fails at a deadline."""

    async def wait(condition: Callable[[], Any], seconds: float = 20) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def ended(until) -> Callable[..., Any]:
    """Waits until a run has a final status, and returns its row."""

    async def wait(runtime: Any, saga_id: str) -> Any:
        async def finished() -> Any:
            record = await runtime.store.load(saga_id)
            return record if record is not None and record.status in FINISHED else None

        return await until(finished)

    return wait


@pytest.fixture
def ledger() -> list[Any]:
    return []


@pytest.fixture
def order_saga(ledger) -> type[Saga]:
    """Reserves, charges and ships; ``decline`` in the context makes the payment fail."""

    class OrderSaga(Saga):
        @action("reserve")
        async def reserve(self, ctx):
            ledger.append("reserve")
            return {"reservation": f"r-{ctx['order_id']}"}

        @compensate("reserve")
        async def release(self, ctx):
            ledger.append("release")

        @action("charge", depends_on=["reserve"])
        async def charge(self, ctx):
            ledger.append("charge")
            if ctx.get("decline"):
                raise ValueError("card declined")
            return {"charge": 7}

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            ledger.append("ship")
            return {"parcel": 1}

    return OrderSaga


class Gate:
    """A step that says when it was entered, and goes on when it is told."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated_saga(gate, ledger) -> type[Saga]:
    class GatedSaga(Saga):
        @action("wait")
        async def wait(self, ctx):
            ledger.append("wait")
            gate.entered.set()
            await gate.open.wait()
            ledger.append("done")
            return {}

    return GatedSaga


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Iterator[Shop]:
    """An application in files of its own, for real servers and commands."""
    shop = Shop(tmp_path, monkeypatch)
    yield shop
    for process in shop.processes:
        process.end()

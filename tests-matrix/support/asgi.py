"""Speaks ASGI to an application in this event loop: lifespan, requests that stream or disconnect, and WebSockets.

httpx's transport collects the whole body and knows no disconnecting client, and those are what some cases are about.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from support.answers import Answer, Ask

__all__ = ["AsgiClient"]

Message = dict[str, Any]


class AsgiClient:
    """One ASGI application, and the state that its lifespan gives to requests."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Enter the application's lifespan; what it raises is raised here."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        self._life = asyncio.create_task(self._app(scope, self._inbox.get, self._outbox.put))
        await self._turn("startup")

    async def shutdown(self) -> None:
        """Leave the lifespan; harmless when it was never entered."""
        if self._life is not None and not self._life.done():
            await self._turn("shutdown")
            await self._life
        self._life = None

    async def _turn(self, event: str) -> None:
        assert self._life is not None
        await self._inbox.put({"type": f"lifespan.{event}"})
        reply = asyncio.create_task(self._outbox.get())
        await asyncio.wait([reply, self._life], return_when=asyncio.FIRST_COMPLETED)
        if reply.done() and reply.result()["type"] == f"lifespan.{event}.complete":
            return
        reply.cancel()
        await self._life  # A failure is raised by the application, after it was told.
        raise AssertionError(f"the application's {event} failed without an exception")

    async def request(self, ask: Ask) -> Answer:
        """Send a request and return the answer, with the exception that the application let out, if it did."""
        exchange = _Exchange(ask)
        raised = None
        try:
            await self._app(self._scope("http", ask), exchange.receive, exchange.send)
        except Exception as error:
            raised = error
        exchange.ended.set()
        return exchange.answer(raised)

    async def websocket(self, ask: Ask) -> tuple[Message, list[Any]]:
        """Open a WebSocket; return its accept message, and the JSON messages until the application closes it."""
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        await inbox.put({"type": "websocket.connect"})
        await self._app(self._scope("websocket", ask), inbox.get, send)
        accepted = next((message for message in sent if message["type"] == "websocket.accept"), {})
        return accepted, [json.loads(message["text"]) for message in sent if message["type"] == "websocket.send"]

    def _scope(self, kind: str, ask: Ask) -> Message:
        scope = {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": ask.route,
            "raw_path": ask.route.encode(),
            "query_string": ask.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in ask.sent_headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": dict(self._state),
        }
        return {**scope, "method": ask.method} if kind == "http" else {**scope, "subprotocols": []}


class _Exchange:
    """What the server does for one request."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._sent_body = False
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._pieces: list[bytes] = []
        self.ended = asyncio.Event()

    async def receive(self) -> Message:
        if not self._sent_body:
            self._sent_body = True
            return {"type": "http.request", "body": self._ask.body, "more_body": False}
        if not self._ask.leave:
            await self.ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            pairs = message.get("headers", ())
            self._headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self._pieces.append(bytes(message["body"]))
            if not message.get("more_body"):
                self.ended.set()

    def answer(self, raised: Exception | None) -> Answer:
        return Answer(self._status, self._headers, tuple(self._pieces), raised)

"""Wraps an application: ``app = SagazASGI(app, {"STORAGE_URL": …})``, and `SagazWSGI` alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings, environment, mapping
from sagaz_integration_core.context.correlation import accept, bound
from sagaz_integration_core.contract.lifecycle import Lifecycle, RequestContext
from sagaz_integration_core.errors import RuntimeNotOpen

__all__ = ["SagazASGI", "SagazWSGI"]


class _Plugin:
    """Requests find the method `sagas` under ``sagaz`` in their scope or environ.

    Args:
        options: Settings besides those of the environment.
        propagate: Whether sagas that a request starts get its correlation id into their context.
    """

    fix: str

    def __init__(
        self, app: Any, options: Mapping[str, Any], sagas: Iterable[Any] = (), *, worker: bool, propagate: bool = True
    ) -> None:
        self.app = app
        self.settings = Settings.load(mapping(options, "options"), environment())
        self.runtime = SagazRuntime(self.settings, sagas=sagas, app=app, worker=worker)
        self.propagate = propagate

    def sagas(self) -> Sagas:
        """Return what can be done with the application's sagas."""
        if not self.runtime.is_open:
            raise RuntimeNotOpen(f"No sagaz runtime is open for this application. {self.fix}")
        return Sagas(self.runtime)


class SagazASGI(_Plugin):
    """Has the runtime on the server's event loop, from the lifespan's start to its end."""

    fix = "The server's lifespan opens it: have the server serve the SagazASGI, with its lifespan on."

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(self.runtime, receive, send)
            return
        name = self.settings.header_name.lower().encode()
        given = next((value for key, value in scope["headers"] if key == name), None)
        with bound(accept(given), propagate=self.propagate) as request:
            header = (name, request.correlation_id.encode())

            async def send_with_id(message: dict[str, Any]) -> None:
                if message["type"] in ("http.response.start", "websocket.accept"):
                    message = {**message, "headers": [*message.get("headers", ()), header]}
                await send(message)

            await self.app({**scope, "sagaz": self.sagas}, receive, send_with_id)


async def _live(runtime: Lifecycle, receive: Any, send: Any) -> None:
    await receive()
    try:
        await runtime.open(patient=True)
        await runtime.begin()
    except Exception as error:
        await runtime.close()
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await runtime.close()
    await send({"type": "lifespan.shutdown.complete"})


class SagazWSGI(_Plugin):
    """Has the runtime on an event loop in a thread of its own, from `open` to `close`."""

    fix = "The server calls SagazWSGI.open() in each of its processes, after the fork."

    def open(self) -> None:
        """Open the runtime; when it raises, nothing is left open."""
        self._ending: Future[None] = Future()
        opened: Future[None] = Future()
        life = _serve(self.runtime, opened, self._ending)
        self._thread = threading.Thread(target=asyncio.run, args=(life,), daemon=True)
        self._thread.start()
        opened.result()

    def close(self) -> None:
        """Drain and close the runtime; the server calls it when its process ends."""
        if not self._ending.done():
            self._ending.set_result(None)
        self._thread.join()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name = self.settings.header_name
        given = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        with bound(accept(given), propagate=self.propagate) as request:

            def start_with_id(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                return start_response(status, [*headers, (name, request.correlation_id)], *error)

            body = self.app({**environ, "sagaz": self.sagas}, start_with_id)
        return _bound_body(body, request)


def _bound_body(body: Iterable[bytes], request: RequestContext) -> Iterator[bytes]:
    """Yield the pieces of a body, each of which is made under the request's id."""
    pieces = iter(body)
    try:
        while True:
            with bound(request.correlation_id, propagate=request.propagate):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    finally:
        getattr(body, "close", lambda: None)()


async def _serve(runtime: Lifecycle, opened: Future[None], ending: Future[None]) -> None:
    """Have the runtime open until it is to end, on this event loop."""
    try:
        await runtime.open(patient=True)
        await runtime.begin()
    except BaseException as error:
        await runtime.close()
        opened.set_exception(error)
        return
    opened.set_result(None)
    await asyncio.wrap_future(ending)
    await runtime.close()

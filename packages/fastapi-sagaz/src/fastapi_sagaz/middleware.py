"""The correlation id of every request: taken from its header or made, bound while it lasts, and sent back."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_sagaz._app_state import open_app
from sagaz_integration_core.context.correlation import accept, bind, unbind

__all__ = ["SagaContextMiddleware"]

_WITH_HEADERS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))


class SagaContextMiddleware:
    """Binds a correlation id to each HTTP request and WebSocket, and sends it back in the same header.

    Starlette answers unhandled exceptions outside of every added middleware, without the header. An application that is
    wrapped as a whole, ``app = SagaContextMiddleware(FastAPI(…))``, has it there too.

    Args:
        header_name: The header that carries the id; by default the setting ``SAGAZ_HEADER_NAME``, else
            ``X-Correlation-ID``.
        propagate_to_context: Whether sagas that the request starts get the id as ``correlation_id`` in their context.

    Raises:
        SettingsError: ``header_name`` is no name of an HTTP header.
    """

    def __init__(self, app: ASGIApp, header_name: str | None = None, propagate_to_context: bool = True) -> None:
        self.app = app
        self._propagate = propagate_to_context
        self._name = None if header_name is None else _checked(header_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass untouched."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        name = self._name or self._from_settings(scope)
        given = None
        for key, value in scope["headers"]:
            if key == name:
                given = value
                break
        correlation_id = accept(given)
        header = (name, correlation_id.encode())

        # Not a coroutine function: the server's own coroutine is handed on, and body chunks cost next to nothing.
        def send_with_header(message: Message) -> Awaitable[None]:
            if message["type"] in _WITH_HEADERS:
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != name]
                headers.append(header)
                message = {**message, "headers": headers}
            return send(message)

        binding = bind(correlation_id, propagate=self._propagate)
        try:
            await self.app(scope, receive, send_with_header)
        except Exception as error:
            # The server logs it where nothing is bound any more.
            error.add_note(f"correlation_id: {correlation_id}")
            raise
        finally:
            unbind(binding)

    def _from_settings(self, scope: Scope) -> bytes:
        opened = open_app(scope.get("app", self.app))
        if opened is None:
            return _DEFAULT
        self._name = _lower(opened.runtime.settings.header_name)
        return self._name


def _checked(header_name: str) -> bytes:
    from sagaz_durable.settings.settings import Settings

    return _lower(Settings(header_name=header_name).header_name)


def _lower(header_name: str) -> bytes:
    return header_name.lower().encode()


_DEFAULT = _lower("X-Correlation-ID")

"""Speaks WSGI to an application, each request in a thread of its own, as a threaded server does."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any

from support.answers import Answer, Ask

__all__ = ["WsgiClient"]


class WsgiClient:
    """One WSGI application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def request(self, ask: Ask) -> Answer:
        """Send a request, read the response to its end, and return it with the exception that got out, if one did."""
        return await asyncio.to_thread(self._request, ask)

    def _request(self, ask: Ask) -> Answer:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [int(status.split()[0]), tuple(headers)]
            return lambda piece: pieces.append(piece)

        pieces: list[bytes] = []
        try:
            body = self._app(_environ(ask), start_response)
        except Exception as error:
            return Answer(500, error=error)
        try:
            pieces.extend(piece for piece in body if piece)
        finally:
            getattr(body, "close", lambda: None)()
        return Answer(started[0], started[1], tuple(pieces))


def _environ(ask: Ask) -> dict[str, Any]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in ask.sent_headers}
    return {
        **headers,
        "REQUEST_METHOD": ask.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": ask.route,
        "QUERY_STRING": ask.query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": headers["HTTP_CONTENT_TYPE"],
        "CONTENT_LENGTH": headers["HTTP_CONTENT_LENGTH"],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(ask.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

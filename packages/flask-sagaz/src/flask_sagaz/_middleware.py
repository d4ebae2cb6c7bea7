"""The correlation id of every request: taken from its header or made, bound while it lasts, and sent back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import has_app_context

from flask_sagaz._flask_g import on_g
from flask_sagaz._streaming import BoundStream
from sagaz_integration_core.context.correlation import accept, bind, unbind

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Correlation", "RequestSettings"]

Headers = list[tuple[str, str]]


class RequestSettings:
    """What each request needs to know.

    Args:
        header_name: The header that carries the correlation id.
        prepare: Called before each request, if something is to be.

    Attributes:
        key: The header's name in a WSGI environment.
    """

    __slots__ = ("header_name", "key", "prepare")

    def __init__(self, header_name: str, prepare: Callable[[], None] | None) -> None:
        self.header_name = header_name
        self.key = "HTTP_" + header_name.upper().replace("-", "_")
        self.prepare = prepare


class Correlation:
    """Binds a correlation id to each request, and sends it back in the same header; ``app.wsgi_app`` is wrapped in it.

    Args:
        requests: What requests need of the application's settings, asked for by each of them.
        propagate: Whether the sagas that the request starts get it into their context.
    """

    def __init__(self, wsgi_app: WSGIApplication, requests: Callable[[], RequestSettings], *, propagate: bool) -> None:
        self._wsgi_app = wsgi_app
        self._requests = requests
        self._propagate = propagate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request; what streams its body does so under the id, too."""
        requests = self._requests()
        if requests.prepare is not None:
            requests.prepare()
        correlation_id = accept(environ.get(requests.key))
        answer = _Answer(start_response, requests.header_name, correlation_id)
        binding = bind(correlation_id, propagate=self._propagate)
        try:
            # In a test's own application context, the request uses that one's g.
            if has_app_context():
                with on_g(correlation_id):
                    body = self._wsgi_app(environ, answer)
            else:
                body = self._wsgi_app(environ, answer)
        except Exception as error:
            # The server logs it where nothing is bound any more.
            error.add_note(f"correlation_id: {correlation_id}")
            raise
        finally:
            unbind(binding)
        return BoundStream(body, binding.context) if answer.streams else body


class _Answer:
    """A ``start_response`` that adds the header.

    Attributes:
        streams: Whether the body may still have to be made: its length is not known.
    """

    __slots__ = ("_correlation_id", "_name", "_start_response", "streams")

    def __init__(self, start_response: StartResponse, name: str, correlation_id: str) -> None:
        self._start_response = start_response
        self._name = name
        self._correlation_id = correlation_id
        self.streams = True

    def __call__(self, status: str, headers: Headers, exc_info: Any = None, /) -> Callable[[bytes], object]:
        names = [name.lower() for name, _ in headers]
        self.streams = "content-length" not in names
        own = self._name.lower()
        if own in names:
            headers = [pair for name, pair in zip(names, headers, strict=True) if name != own]
        return self._start_response(status, [*headers, (self._name, self._correlation_id)], exc_info)

"""Views that clients may repeat: the rules are the engine's, requests and responses are Flask's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, make_response, request

from flask_sagaz._app_state import current_state
from flask_sagaz.http.messages import readable
from sagaz_durable.http.idempotency.handling import answer_sync
from sagaz_durable.http.idempotency.keys import Repeatable
from sagaz_durable.http.idempotency.places import BlockingTransaction, Leases, sleep
from sagaz_durable.http.idempotency.requests import RepeatableRequest
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.synchronous import BlockingScope

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.http.idempotency.places import KeyPlace

__all__ = ["idempotent"]

View = Callable[..., Any]


def idempotent(
    saga: type[Saga] | None = None,
    *,
    caller: Callable[[], Any] | None,
    session: Any = None,
    required: bool = True,
    location: str | None = None,
) -> Callable[[View], View]:
    """Decorate a view that clients may repeat with an ``Idempotency-Key``; beneath ``@app.post(…)``.

    Args:
        saga: The saga that it starts one run of: whatever dies in between, that is one run.
        caller: Returns who sent the request (``lambda: current_user.get_id()``), of whom the key is; None where all
            clients are one.
        session: ``db.session``, if key and answer are to be part of its transaction, as are the view's own rows and
            starts with ``session=``; it is committed with the answer, and not by the view.
        required: Whether a request without a key is refused.
        location: The address of a run's status, with ``{saga_id}``: for what is answered after a crash in between.

    Raises:
        UsageError: There is neither ``saga`` nor ``session``.
    """

    def decorate(view: View) -> View:
        name = f"{view.__module__}.{view.__qualname__}"
        return _once(view, Repeatable(name, saga, session is not None, required, location), caller, session)

    return decorate


def _once(view: View, endpoint: Repeatable, caller: Callable[[], Any] | None, session: Any) -> View:
    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Response:
        opened = current_state().process().get()
        scope = BlockingScope(opened)
        place: KeyPlace = Leases(scope, sleep) if session is None else BlockingTransaction(scope, session)

        def begin() -> RepeatableRequest:
            who = None if caller is None else caller()
            return RepeatableRequest(endpoint, _request(), who, place, opened.settings)

        def call() -> Response:
            return make_response(current_app.ensure_sync(view)(*args, **kwargs))

        return answer_sync(begin, _Answerer(), call, request.headers.get(opened.settings.header_name))

    return once


def _request() -> HttpRequest:
    return HttpRequest(
        request.method,
        f"{request.script_root}{request.path}",
        request.query_string.decode("latin-1"),
        tuple((name, value) for name, value in request.headers),
        readable(request.get_data),
        request,
    )


class _Answerer:
    """Reads and makes Flask's responses."""

    def read(self, response: Response) -> tuple[HttpResponse | None, int]:
        """Return what is kept of a response; nothing of a stream."""
        if response.is_streamed or response.direct_passthrough:
            return None, response.status_code
        headers = {name: ", ".join(response.headers.getlist(name)) for name, _ in response.headers}
        return HttpResponse(response.status_code, headers, response.get_data()), response.status_code

    def make(self, response: HttpResponse) -> Response:
        """Return Flask's response."""
        made: Response = current_app.response_class(response.body, response.status)
        made.headers.remove("Content-Type")
        made.headers.update(response.headers)
        return made

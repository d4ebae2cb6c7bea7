"""What binds a correlation id in Flask."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.test import EnvironBuilder

from benchmarks.contenders.middleware._cost import HEADER, INBOUND, Block, measuring
from benchmarks.harness.model import Measure, Place


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure what the options name."""
    bare, wrapped = _app(), _app()
    close = _ADD[place.options["middleware"]](wrapped)
    try:
        yield measuring(
            {
                "with an id": (_block(bare, INBOUND), _block(wrapped, INBOUND)),
                "without an id": (_block(bare, None), _block(wrapped, None)),
            }
        )
    finally:
        close()


def _app() -> Flask:
    app = Flask("shop")

    @app.get("/page")
    def page() -> str:
        return "ok"

    return app


def _block(app: Flask, given: str | None) -> Block:
    headers = {"User-Agent": "benchmark", "Accept": "*/*", **({HEADER: given} if given else {})}
    environ = EnvironBuilder("/page", headers=headers).get_environ()

    def requests(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            for _piece in app(dict(environ), _start_response):
                pass
        return time.process_time() - began

    return requests


def _start_response(*arguments: Any) -> Any:
    return None


def _ours(app: Flask) -> Callable[[], None]:
    from flask_sagaz import SagazExtension

    extension = SagazExtension(app, storage_url="memory://")
    with app.app_context():
        # As in a process that has started a saga.
        _ = extension.config

    def close() -> None:
        with app.app_context():
            extension.close()

    return close


def _sagaz(app: Flask) -> Callable[[], None]:
    from sagaz.integrations.flask import SagaFlask

    SagaFlask(app)
    return _nothing


def _by_hand(app: Flask) -> Callable[[], None]:
    @app.before_request
    def take() -> None:
        g.correlation_id = request.environ.get("HTTP_X_CORRELATION_ID") or uuid.uuid4().hex

    @app.after_request
    def give(response: Response) -> Response:
        response.headers[HEADER] = g.correlation_id
        return response

    return _nothing


def _nothing() -> None:
    pass


_ADD = {"ours": _ours, "sagaz": _sagaz, "hand": _by_hand}

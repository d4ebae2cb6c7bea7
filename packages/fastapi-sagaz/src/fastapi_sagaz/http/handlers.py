"""`problem_handlers`: an application's own endpoints answer what goes wrong with sagas as problem documents, too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from fastapi_sagaz._app_state import open_app
from fastapi_sagaz.http.messages import native_response
from sagaz_durable.http.problems import INVALID_INPUT, Problem, problem_response
from sagaz_integration_core.errors import SagazError

__all__ = ["problem_handlers"]


async def _of_sagas(request: Request, error: Exception) -> Response:
    problem = Problem.of(error) if isinstance(error, SagazError) else None
    if problem is None:
        # No client's fault, and none that passes by itself: a 500, with its traceback in the log.
        raise error
    return _answer(request, problem)


async def _of_validation(request: Request, error: Exception) -> Response:
    # Without what was sent: FastAPI's own answer repeats it, and fails if that is NaN or half a surrogate pair.
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
    return _answer(request, Problem(INVALID_INPUT, "; ".join(told)))


def _answer(request: Request, problem: Problem) -> Response:
    opened = open_app(request.app)
    header = None if opened is None else request.headers.get(opened.runtime.settings.header_name)
    return native_response(problem_response(problem, header))


problem_handlers: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
    SagazError: _of_sagas,
    RequestValidationError: _of_validation,
}
"""For ``FastAPI(exception_handlers=problem_handlers)``: what a client got wrong is 422, what passes by itself 503 with
``Retry-After``, both with the request's correlation id; what is the application's own fault stays a 500."""

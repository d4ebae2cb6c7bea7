"""`problem_handlers`: an application's own endpoints answer what goes wrong with sagas as problem documents, too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from fastapi_sagaz._app_state import open_app
from fastapi_sagaz.http.messages import native_response
from sagaz_durable.http.problems import Problem, error_response, problem_response
from sagaz_durable.problem_types import INVALID_INPUT
from sagaz_integration_core.errors import SagazError

__all__ = ["problem_handlers"]


async def _of_sagas(request: Request, error: Exception) -> Response:
    answer = error_response(error, _correlation_header(request))
    if answer is None:
        # No client's fault, and none that passes by itself: a 500, with its traceback in the log.
        raise error
    return native_response(answer)


async def _of_validation(request: Request, error: Exception) -> Response:
    # Without what was sent: FastAPI's own answer repeats it, and fails if that is NaN or half a surrogate pair.
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
    problem = Problem(INVALID_INPUT, "; ".join(told))
    return native_response(problem_response(problem, _correlation_header(request)))


def _correlation_header(request: Request) -> str | None:
    opened = open_app(request.app)
    return None if opened is None else request.headers.get(opened.runtime.settings.header_name)


problem_handlers: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
    SagazError: _of_sagas,
    RequestValidationError: _of_validation,
}
"""For ``FastAPI(exception_handlers=problem_handlers)``: what a client got wrong is 422, a run that has not
ended or has failed 409, what passes by itself 503 with ``Retry-After``, all with the request's correlation id; a run
that waits is 202; what is the application's own fault stays a 500."""

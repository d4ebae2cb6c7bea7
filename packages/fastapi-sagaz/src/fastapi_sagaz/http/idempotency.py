"""Endpoints that clients may repeat: the rules are the engine's, requests and responses are FastAPI's."""

# Without `from __future__ import annotations`: FastAPI evaluates signatures, and finds no namespace for strings in
# callable objects.

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Header, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as DependsClass
from fastapi.routing import APIRoute
from fastapi.utils import deep_dict_update
from starlette.concurrency import run_in_threadpool

from fastapi_sagaz._app_state import runtime_of
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.http.idempotency.places import KeyPlace
    from sagaz_durable.http.idempotency.requests import RepeatableRequest
    from sagaz_durable.http.messages import HttpResponse
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Idempotent", "IdempotentRoute"]

_STATE = "sagaz_repeatable"


class Idempotent:
    """Makes a dependency of endpoints that clients may repeat with an ``Idempotency-Key``.

    ``dependencies=[Depends(Idempotent(OrderSaga, caller=current_user))]``, in a router whose ``route_class`` is
    `IdempotentRoute`.

    Args:
        saga: The saga that the endpoint starts one run of: whatever dies in between, that is one run.
        caller: A dependency that returns who sent the request, of whom the key is; None where all clients are one.
        session: The dependency that returns the endpoint's session, if key and answer are to be part of its
            transaction, as are the endpoint's own rows and starts with ``session=``. The route commits it with the
            answer, and the endpoint does not. One with a scope is given as ``Depends(get_session, scope="function")``.
        required: Whether a request without a key is refused.
        location: The address of a run's status, with ``{saga_id}``: for what is answered after a crash in between.
    """

    def __init__(
        self,
        saga: "type[Saga] | None" = None,
        *,
        caller: Callable[..., Any] | None,
        session: Callable[..., Any] | None = None,
        required: bool = True,
        location: str | None = None,
    ) -> None:
        self.saga = saga
        self._options = (saga, session is not None, required, location)
        self.__signature__ = inspect.Signature([
            inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request),
            *_dependency("caller", caller),
            *_dependency("session", session),
            inspect.Parameter(
                "idempotency_key", inspect.Parameter.KEYWORD_ONLY, annotation=str | None,
                default=Header(None, description="Sent again with the same request, it gets the same answer."),
            ),
        ])  # fmt: skip

    def check(self, endpoint: str) -> None:
        """Refuse what cannot keep its promise.

        Raises:
            UsageError: There is neither ``saga`` nor ``session``; it names the endpoint.
        """
        from sagaz_durable.http.idempotency.keys import Repeatable

        Repeatable(endpoint, *self._options)

    async def __call__(self, *, request: Request, caller: Any = None, session: Any = None, **_: Any) -> None:
        """Claim the request's key, or have the route answer without the endpoint."""
        from sagaz_durable.http.idempotency.keys import Repeatable
        from sagaz_durable.http.idempotency.requests import RepeatableRequest

        route, state = request.scope.get("route"), request.scope.get(_STATE)
        name = str(getattr(route, "path", request.url.path))
        if not isinstance(state, _State):
            raise UsageError(
                f"The route {name} depends on Idempotent(…), and is no IdempotentRoute, which keeps its answer. Make "
                "its router with APIRouter(route_class=IdempotentRoute)."
            )
        runtime = runtime_of(request)
        endpoint = Repeatable(name, *self._options)
        read = await state.read(request)
        state.request = RepeatableRequest(endpoint, read, caller, _place(runtime, session), runtime.settings)
        if (given := await state.request.begin()) is not None:
            state.request = None
            raise _Given(given)
        state.stack.enter_context(state.request.starting())


class IdempotentRoute(APIRoute):
    """The class of routes whose endpoints may depend on `Idempotent`; others are as they would be without it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        dependencies = list(_dependencies_in(self.dependant))
        for dependency in dependencies:
            dependency.check(f"{self.path} ({endpoint.__module__}.{getattr(endpoint, '__qualname__', endpoint)})")
        if dependencies:
            self.openapi_extra = _documented(self)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request, and keeps its answer."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            from asyncio import shield

            from sagaz_durable.http.problems import Problem, problem_response

            with ExitStack() as stack:
                request.scope[_STATE] = state = _State(stack)
                try:
                    response = await handle(request)
                    instead = None if state.request is None else await state.request.end(*_read(response))
                except _Given as given:
                    return _made(given.response)
                except Problem as problem:
                    return _made(problem_response(problem))
                except BaseException:
                    if state.request is not None:
                        await shield(state.request.abandon())
                    raise
            return response if instead is None else _made(instead)

        return once


class _State:
    """What the route and the dependency know of one request."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.request: RepeatableRequest | None = None

    async def read(self, request: Request) -> Any:
        from sagaz_durable.http.messages import HttpRequest

        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        path = request.scope.get("root_path", "") + request.scope["path"]
        return HttpRequest(request.method, path, request.url.query, headers, await request.body(), request)


class _Given(Exception):
    """The request is answered without its endpoint."""

    def __init__(self, response: "HttpResponse") -> None:
        super().__init__()
        self.response = response


def _dependency(name: str, of: Callable[..., Any] | None) -> Iterator[inspect.Parameter]:
    if of is not None:
        needed = of if isinstance(of, DependsClass) else Depends(of)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Any, default=needed)


def _documented(route: APIRoute) -> dict[str, Any]:
    from fastapi_sagaz.http.documentation import repeatable

    documented = repeatable(route.responses, has_body=route.body_field is not None)
    deep_dict_update(documented, route.openapi_extra or {})
    return documented


def _dependencies_in(dependant: Dependant) -> Iterator[Idempotent]:
    for needed in dependant.dependencies:
        if isinstance(needed.call, Idempotent):
            yield needed.call
        yield from _dependencies_in(needed)


def _place(runtime: "SagazRuntime", session: Any) -> "KeyPlace":
    from asyncio import sleep

    from sagaz_durable.http.idempotency.places import BlockingTransaction, Leases, Transaction

    if session is None:
        return Leases(runtime)
    if inspect.iscoroutinefunction(session.commit):
        return Transaction(runtime, session)
    return BlockingTransaction(runtime, session, run_in_threadpool, sleep)


def _read(response: Response) -> "tuple[HttpResponse | None, int]":
    from sagaz_durable.http.messages import HttpResponse

    body = getattr(response, "body", None)
    if not isinstance(body, bytes):
        return None, response.status_code
    headers = {name: ", ".join(response.headers.getlist(name)) for name in response.headers}
    return HttpResponse(response.status_code, headers, body), response.status_code


def _made(response: "HttpResponse") -> Response:
    return Response(response.body, response.status, dict(response.headers))

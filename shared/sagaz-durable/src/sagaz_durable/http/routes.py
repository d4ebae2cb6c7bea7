"""The routes as one table, for frameworks that write a path's parameters in angle brackets, as Django and Flask do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal, get_args

from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.deciding import Decision
from sagaz_durable.http.messages import HttpResponse
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SagazError

__all__ = ["ROUTES", "Route", "not_opened"]


@record
class Route:
    """One route.

    Attributes:
        path: Beneath where the routes are, without a slash at its begin; empty for the list.
        name: By which the framework finds its address.
        answer: Called with a `SagaApi`, the request, and the path's parameters by name.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    answer: Callable[..., Coroutine[Any, Any, HttpResponse]]


def _decision(decision: Decision) -> Route:
    name = f"{decision.replace('-', '_')}_run"
    return Route("POST", f"<saga_id>/{decision}", name, partial(SagaApi.decide, decision=decision))


ROUTES: tuple[Route, ...] = (
    Route("GET", "", "list_runs", SagaApi.list_runs),
    Route("GET", "<saga_id>", "show_run", SagaApi.show_run),
    Route("GET", "<saga_id>/graph", "draw_run", SagaApi.draw_run),
    Route("GET", "<saga_id>/graph.svg", "draw_run_svg", partial(SagaApi.draw_run, form="svg")),
    Route("GET", "<saga_id>/graph.mmd", "draw_run_mermaid", partial(SagaApi.draw_run, form="mermaid")),
    *map(_decision, get_args(Decision)),
    Route("POST", "<saga_id>/signal/<name>", "send_signal", SagaApi.send_signal),
)


def not_opened(error: SagazError) -> HttpResponse:
    """Return the answer to a request for which the application's sagas could not be opened.

    Raises:
        SagazError: It is a fault of the application's, and no client's to know of.
    """
    if (problem := Problem.of(error)) is None:
        raise error
    return problem_response(problem)

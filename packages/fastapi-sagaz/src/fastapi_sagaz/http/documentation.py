"""What the OpenAPI document says of the routes of `sagaz_router`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from fastapi_sagaz.http.documents import (
    DecisionDocument,
    DecisionRequest,
    ProbeDocument,
    ProblemDocument,
    ResolutionRequest,
    RunDocument,
    RunPage,
    SignalRequest,
    WebhookReceipt,
)
from sagaz_durable.http.deciding import Decision
from sagaz_durable.http.idempotency.requests import PROBLEMS
from sagaz_durable.http.pages import LARGEST_PAGE, PARAMETERS
from sagaz_durable.http.problems import PROBLEM_TYPE
from sagaz_durable.problem_types import CATALOGUE, Kind
from sagaz_integration_core.contract.records import ACTIVE, FINISHED

__all__ = ["DRAW", "DRAW_MERMAID", "DRAW_SVG", "LIST", "PROBE", "SHOW", "SIGNAL", "WEBHOOK", "deciding", "repeatable"]

Documented = dict[Any, Any]


def _titles(kinds: Iterable[Kind]) -> dict[int, str]:
    titles: dict[int, list[str]] = {}
    for kind in kinds:
        titles.setdefault(kind.status, []).append(kind.title)
    return {status: "; or: ".join(told) for status, told in titles.items()}


_TITLES = _titles(CATALOGUE)
_TITLES_OF_KEYS = _titles(PROBLEMS)

_TAG = {"ETag": {"description": "The run's version, and what a deployment may change.", "schema": {"type": "string"}}}
_UNCHANGED = {304: {"description": "The client has it already.", "headers": _TAG}}


def _problems(*statuses: int) -> Documented:
    return {status: {"description": _TITLES[status], "content": _content()} for status in statuses}


def _content() -> Documented:
    return {PROBLEM_TYPE: {"schema": ProblemDocument.model_json_schema()}}


def _parameter(name: str, where: str, told: str, schema: Documented | None = None) -> Documented:
    return {"name": name, "in": where, "description": told, "required": False, "schema": schema or {"type": "string"}}


_SCHEMAS: Documented = {
    "status": {"type": "array", "items": {"enum": [*ACTIVE, *FINISHED]}},
    "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
}
_SAGA_ID = {**_parameter("saga_id", "path", "The run's id."), "required": True}
_SIGNAL_NAME = {**_parameter("signal", "path", "The signal's name, as the waiting step names it."), "required": True}
_IF_NONE_MATCH = _parameter("If-None-Match", "header", "The entity tag of what the client has.")
_IF_MATCH = _parameter("If-Match", "header", "The entity tag of the run that the decision is for.")


def _reading(*statuses: int, parameters: list[Documented]) -> Documented:
    return {"responses": _problems(404, *statuses, 503), "openapi_extra": {"parameters": parameters}}


def _pictures(*media: str) -> Documented:
    content = {one: {"schema": {"type": "string"}} for one in media}
    documented = _reading(parameters=[_SAGA_ID, _IF_NONE_MATCH])
    pictures = {200: {"description": "The picture.", "content": content, "headers": _TAG}}
    return {**documented, "responses": {**pictures, **_UNCHANGED, **documented["responses"]}}


_QUERY = [_parameter(name, "query", told, _SCHEMAS.get(name)) for name, told in PARAMETERS.items()]
LIST: Documented = {**_reading(422, parameters=_QUERY), "response_model": RunPage}

_SHOW = _reading(parameters=[_SAGA_ID, _IF_NONE_MATCH])
SHOW: Documented = {
    **_SHOW,
    "response_model": RunDocument,
    "responses": {200: {"headers": _TAG}, **_UNCHANGED, **_SHOW["responses"]},
}

DRAW: Documented = _pictures("image/svg+xml", "text/vnd.mermaid")
DRAW_SVG: Documented = _pictures("image/svg+xml")
DRAW_MERMAID: Documented = _pictures("text/vnd.mermaid")

PROBE: Documented = {
    "response_model": ProbeDocument,
    "responses": {503: {"description": "It is not.", "model": ProbeDocument}},
}


_SOURCE = {**_parameter("source", "path", "Who sends the event."), "required": True}
_EVENT = {"type": ["object", "array"], "description": "The event, signed as its source does."}
WEBHOOK: Documented = {
    "response_model": WebhookReceipt,
    "responses": _problems(400, 404, 413, 415, 422, 503),
    "openapi_extra": {
        "parameters": [_SOURCE],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _EVENT}}},
    },
}


def _deciding(body: type[BaseModel], *more: Documented) -> Documented:
    content = {"application/json": {"schema": body.model_json_schema()}}
    return {
        "response_model": DecisionDocument,
        "responses": _problems(403, 404, 409, 412, 413, 415, 422, 503),
        "openapi_extra": {
            "parameters": [_SAGA_ID, *more, _IF_MATCH],
            "requestBody": {"required": body is ResolutionRequest, "content": content},
        },
    }


SIGNAL: Documented = _deciding(SignalRequest, _SIGNAL_NAME)


def deciding(decision: Decision) -> Documented:
    """Return what is said of one decision."""
    return _deciding(ResolutionRequest if decision == "resolve" else DecisionRequest)


_UNREADABLE = {"title": "Unreadable", "type": "object", "properties": {"detail": {"type": "string"}}}
"""What FastAPI answers if it cannot read a body at all."""


def repeatable(documented: Mapping[int | str, Documented], *, has_body: bool) -> Documented:
    """Return, as ``openapi_extra``, what is said of an endpoint that clients may repeat besides its own.

    Args:
        documented: The responses that the application documents; these stay as they are.
        has_body: Whether FastAPI reads a body, and may answer 400 by itself.
    """
    known = {str(status): told for status, told in documented.items()}
    found = {str(status): title for status, title in _TITLES_OF_KEYS.items()}
    # Every such endpoint has a header, so that FastAPI documents its own 422 as well.
    found["422"] = f"Validation Error; or: {found['422']}"
    responses = {status: _beside(known.get(status), title) for status, title in found.items()}
    if has_body and "400" not in known:
        responses["400"]["content"]["application/json"] = {"schema": _UNREADABLE}
    return {"responses": responses}


def _beside(told: Documented | None, title: str) -> Documented:
    if told is None:
        return {"description": title, "content": _content()}
    return {} if PROBLEM_TYPE in told.get("content", {}) else {"content": _content()}

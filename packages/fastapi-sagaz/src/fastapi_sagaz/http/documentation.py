"""What the OpenAPI document says of the routes of `sagaz_router`."""

from __future__ import annotations

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
from sagaz_durable.http.pages import LARGEST_PAGE, PARAMETERS
from sagaz_durable.http.problems import CATALOGUE, PROBLEM_TYPE
from sagaz_integration_core.contract.records import ACTIVE, FINISHED

__all__ = ["DRAW", "DRAW_MERMAID", "DRAW_SVG", "LIST", "PROBE", "SHOW", "SIGNAL", "WEBHOOK", "deciding"]

Documented = dict[Any, Any]

_TITLES: dict[int, str] = {}
for _kind in CATALOGUE:
    if _kind.status >= 400:
        _TITLES[_kind.status] = "; or: ".join(filter(None, (_TITLES.get(_kind.status), _kind.title)))

_TAG = {"ETag": {"description": "The run's version.", "schema": {"type": "string"}}}
_UNCHANGED = {304: {"description": "The client has it already.", "headers": _TAG}}


def _problems(*statuses: int) -> Documented:
    content = {PROBLEM_TYPE: {"schema": ProblemDocument.model_json_schema()}}
    return {status: {"description": _TITLES[status], "content": content} for status in statuses}


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

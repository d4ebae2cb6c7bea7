"""Problem documents (RFC 9457): what of the catalogue is told over HTTP, and how."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sagaz_durable.http.messages import HttpResponse
from sagaz_durable.problem_types import NOT_OPEN, RUN_IN_PROGRESS, Kind, kind_of
from sagaz_integration_core.context import correlation
from sagaz_integration_core.error_text import json_text, visible
from sagaz_integration_core.errors import InvalidInput, RunChanged, RunWaiting, SagazError

__all__ = ["PROBLEM_TYPE", "Problem", "error_response", "problem_response"]

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

_MOST_DETAIL = 2_000

_RETRY_SECONDS = 5
"""After how many seconds it is tried again where nothing tells better."""

_TOLD = (RunChanged, InvalidInput)
"""Errors whose text is for whoever sent the request; others' may name hosts, or say what a step's exception said."""


@dataclass(eq=False)
class Problem(Exception):
    """One occurrence of a problem: raised beneath a route, and answered as a document.

    Attributes:
        detail: What is wrong here, for whoever sent the request; without any value of somebody else's.
        headers: Of the answer, besides its type.
    """

    kind: Kind
    detail: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, error: SagazError) -> Problem | None:
        """Return what an error is to a client; None if it is no client's to know of.

        Why the server or a run stopped is told without a detail: that is the operators' to read.
        """
        kind = kind_of(error)
        if kind is None or kind.status < 400:
            return None
        detail = str(error) if isinstance(error, _TOLD) else None
        if kind.status != 503 and kind is not RUN_IN_PROGRESS:
            return cls(kind, detail)
        return cls(kind, detail, {"Retry-After": str(getattr(error, "retry_after", _RETRY_SECONDS))})

    def document(self, correlation_id: str | None = None) -> dict[str, object]:
        """Return it as JSON has it; one that is part of another document has no status of its own."""
        members = {
            "type": self.kind.address,
            "title": self.kind.title,
            "status": self.kind.status if self.kind.status >= 400 else None,
            "detail": None if self.detail is None else visible(self.detail, _MOST_DETAIL),
            "correlation_id": correlation_id,
        }
        return {name: value for name, value in members.items() if value is not None}


def problem_response(problem: Problem, correlation_header: str | None = None) -> HttpResponse:
    """Return the answer that a problem is, with the correlation id of the request at hand.

    Args:
        correlation_header: What the request's header carries, where no middleware has bound it.
    """
    correlation_id = correlation.correlation_id() or correlation.accept(correlation_header)
    headers = {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **problem.headers}
    return HttpResponse(problem.kind.status, headers, json_text(problem.document(correlation_id)).encode())


def error_response(error: Exception, correlation_header: str | None = None) -> HttpResponse | None:
    """Return what an application's own endpoint answers for an error that it raised; None if it is its own fault.

    A run that waits is no problem: 202, with its saga_id.

    Args:
        correlation_header: See `problem_response`.
    """
    if isinstance(error, RunWaiting):
        document = json_text({"saga_id": error.saga_id, "status": "waiting"})
        return HttpResponse(202, {"Content-Type": "application/json", "Cache-Control": "no-store"}, document.encode())
    problem = Problem.of(error) if isinstance(error, SagazError) else None
    if problem is not None and problem.kind is NOT_OPEN:
        # To the client it passes by itself; whoever has forgotten to open it is told how here alone.
        logger.warning("A request about sagas was refused: %s", visible(str(error)))
    return None if problem is None else problem_response(problem, correlation_header)

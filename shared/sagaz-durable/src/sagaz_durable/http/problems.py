"""Problem documents (RFC 9457): the one catalogue of what can go wrong, each kind with an address that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sagaz_durable.http.messages import HttpResponse
from sagaz_integration_core.context import correlation
from sagaz_integration_core.error_text import json_text, visible
from sagaz_integration_core.errors import (
    InvalidInput,
    Overloaded,
    RunChanged,
    RunFailed,
    RunInProgress,
    RunInterrupted,
    RunNotFound,
    RuntimeNotOpen,
    RunWaiting,
    SagazError,
    SignalRefused,
    StoreUnavailable,
)

__all__ = [
    "CATALOGUE",
    "CROSS_SITE",
    "INVALID_INPUT",
    "KEY_IN_PROGRESS",
    "KEY_MALFORMED",
    "KEY_MISSING",
    "KEY_REUSED",
    "NOT_FOUND",
    "PAGE",
    "PROBLEM_TYPE",
    "REFUSED",
    "RUN_CHANGED",
    "RUN_FAILED",
    "RUN_OVERDUE",
    "RUN_ROLLED_BACK",
    "TOO_LARGE",
    "UNAVAILABLE",
    "UNSUPPORTED_MEDIA",
    "WEBHOOK_REFUSED",
    "WEBHOOK_UNKNOWN",
    "Kind",
    "Problem",
    "error_response",
    "problem_response",
]

PAGE = "https://github.com/sagaz-web/sagaz-web/blob/main/docs/problems.md"
PROBLEM_TYPE = "application/problem+json"

_MOST_DETAIL = 2_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem.

    Attributes:
        slug: Its anchor on the page.
        title: What it is, the same for each occurrence.
        status: The HTTP status that it is answered with; 200 for what a run's own document tells of its end.
    """

    slug: str
    title: str
    status: int

    @property
    def address(self) -> str:
        """Where it is explained; the ``type`` of its documents."""
        return f"{PAGE}#{self.slug}"


NOT_FOUND = Kind("not-found", "There is no such run, or it is not yours to see", 404)
CROSS_SITE = Kind("cross-site-request", "The request comes from another site's page", 403)
TOO_LARGE = Kind("body-too-large", "The request's body is too large", 413)
UNSUPPORTED_MEDIA = Kind("unsupported-media-type", "The request's body is not JSON", 415)
INVALID_INPUT = Kind("invalid-input", "The request cannot be used as it is", 422)
RUN_CHANGED = Kind("run-changed", "The run has changed since it was read", 412)
REFUSED = Kind("decision-refused", "The run does not take this decision", 409)
KEY_MISSING = Kind("idempotency-key-missing", "The request has no Idempotency-Key", 400)
KEY_MALFORMED = Kind("idempotency-key-malformed", "The request's Idempotency-Key is malformed", 400)
KEY_REUSED = Kind("idempotency-key-reused", "The Idempotency-Key belongs to another request", 422)
KEY_IN_PROGRESS = Kind("idempotency-key-in-progress", "The request is being executed", 409)
WEBHOOK_REFUSED = Kind("webhook-refused", "The webhook is not signed as it should be, or not now", 400)
WEBHOOK_UNKNOWN = Kind("webhook-unknown", "No webhooks are taken at this address", 404)
_IN_PROGRESS = Kind("run-in-progress", "The run of this request has not ended yet", 409)
_UNSUCCESSFUL = Kind("run-unsuccessful", "The run of this request has ended without success", 409)
_INTERRUPTED = Kind("run-interrupted", "The run goes on, and not in this process", 503)
_OVERLOADED = Kind("overloaded", "Too many runs wait for workers", 503)
UNAVAILABLE = Kind("store-unavailable", "The store of the runs does not answer", 503)
_NOT_OPEN = Kind("not-open", "This process takes no requests about sagas now", 503)
RUN_ROLLED_BACK = Kind("run-rolled-back", "The run failed, and what it had done was compensated", 200)
RUN_OVERDUE = Kind("run-overdue", "The run's deadline passed, and what it had done was compensated", 200)
RUN_FAILED = Kind("run-failed", "The run has failed and needs manual intervention", 200)

CATALOGUE: tuple[Kind, ...] = (
    NOT_FOUND, CROSS_SITE, TOO_LARGE, UNSUPPORTED_MEDIA, INVALID_INPUT, RUN_CHANGED, REFUSED, KEY_MISSING,
    KEY_MALFORMED, KEY_REUSED, KEY_IN_PROGRESS, WEBHOOK_REFUSED, WEBHOOK_UNKNOWN, _IN_PROGRESS, _UNSUCCESSFUL,
    _INTERRUPTED, _OVERLOADED, UNAVAILABLE, _NOT_OPEN, RUN_ROLLED_BACK, RUN_OVERDUE, RUN_FAILED,
)  # fmt: skip

_RETRY_SECONDS = 5
"""After how many seconds it is tried again where nothing tells better."""

_TOLD = (RunChanged, InvalidInput)
"""Errors whose text is for whoever sent the request; others' may name hosts, or say what a step's exception said."""

_OF_ERRORS: tuple[tuple[type[SagazError], Kind], ...] = (
    (RunChanged, RUN_CHANGED),
    (InvalidInput, INVALID_INPUT),
    (RunNotFound, NOT_FOUND),
    (SignalRefused, REFUSED),
    (RunInProgress, _IN_PROGRESS),
    (RunFailed, _UNSUCCESSFUL),
    (RunInterrupted, _INTERRUPTED),
    (Overloaded, _OVERLOADED),
    (StoreUnavailable, UNAVAILABLE),
    (RuntimeNotOpen, _NOT_OPEN),
)


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
        kind = next((kind for kind_of_error, kind in _OF_ERRORS if isinstance(error, kind_of_error)), None)
        if kind is None:
            return None
        detail = str(error) if isinstance(error, _TOLD) else None
        if kind.status != 503 and kind is not _IN_PROGRESS:
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
    return None if problem is None else problem_response(problem, correlation_header)

"""Lists of runs: what a query asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, cast

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import INVALID_INPUT
from sagaz_integration_core.contract.records import RunStatus

__all__ = ["LARGEST_PAGE", "PAGE_SIZE", "PARAMETERS", "Query", "query_of"]

PAGE_SIZE, LARGEST_PAGE = 50, 100

PARAMETERS: Mapping[str, str] = {
    "saga": "Only runs of the saga of this name.",
    "status": "Only runs in this status; given again, in one of them.",
    "owner": "Only runs that were started for this owner.",
    "correlation_id": "Only runs that a request with this correlation id has started.",
    "limit": f"How many runs a page has at most: 1 to {LARGEST_PAGE}, {PAGE_SIZE} by default.",
    "cursor": "Where the page begins: `next` of the page before.",
}
"""What a list may be asked for."""


class Query(TypedDict):
    """What `Listing.list_runs` takes, and checks."""

    statuses: tuple[RunStatus, ...]
    saga_name: str | None
    owner: str | None
    correlation_id: str | None
    limit: int
    cursor: str | None


def query_of(request: HttpRequest) -> Query:
    """Return what a request asks for.

    Raises:
        Problem: It has a parameter that is not known, twice what may be there once, or no number as its limit.
    """
    given: dict[str, list[str]] = {}
    try:
        for name, value in request.parameters():
            given.setdefault(name, []).append(value)
    except ValueError:
        raise _wrong("the query has too many parameters") from None
    if not given.keys() <= PARAMETERS.keys():
        raise _wrong(f"the query has a parameter that is not known; expected {', '.join(PARAMETERS)}")
    if any(len(values) > 1 for name, values in given.items() if name != "status"):
        raise _wrong("the query has a parameter twice; only status may be")
    once = {name: values[0] for name, values in given.items()}
    return Query(
        statuses=cast("tuple[RunStatus, ...]", tuple(given.get("status", ()))),
        saga_name=once.get("saga"),
        owner=once.get("owner"),
        correlation_id=once.get("correlation_id"),
        limit=_limit(once.get("limit")),
        cursor=once.get("cursor"),
    )


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_SIZE
    if given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= LARGEST_PAGE:
        return int(given)
    raise _wrong(f"limit must be a number, 1 to {LARGEST_PAGE}")


def _wrong(detail: str) -> Problem:
    return Problem(INVALID_INPUT, detail)

"""Lists of runs: what a query asks for, and where the next page begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import get_args

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import INVALID_INPUT, Problem
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import RunRecord, RunStatus

__all__ = ["LARGEST_PAGE", "PAGE_SIZE", "PARAMETERS", "cursor_of", "filter_of"]

PAGE_SIZE, LARGEST_PAGE = 50, 100

PARAMETERS: Mapping[str, str] = {
    "saga": "Only runs of the saga of this name.",
    "status": "Only runs in this status; given again, in one of them.",
    "correlation_id": "Only runs that a request with this correlation id has started.",
    "limit": f"How many runs a page has at most: 1 to {LARGEST_PAGE}, {PAGE_SIZE} by default.",
    "cursor": "Where the page begins: `next` of the page before.",
}
"""What a list may be asked for."""

_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)


def filter_of(request: HttpRequest) -> RunFilter:
    """Return what a query asks for.

    Raises:
        Problem: It has a parameter that is not known, twice what may be there once, or a value that cannot be.
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
    if not findable(*once.values()):
        raise _wrong("the query has characters that no run's values have")
    return RunFilter(
        statuses=_statuses(given.get("status", ())),
        saga_name=once.get("saga"),
        correlation_id=once.get("correlation_id"),
        limit=_limit(once.get("limit")),
        before=_position(once.get("cursor")),
    )


def cursor_of(run: RunRecord) -> str:
    """Return where the page begins that follows this run."""
    place = f"{run.created_at.isoformat()} {run.saga_id}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _statuses(given: Sequence[str]) -> tuple[RunStatus, ...]:
    if not set(given) <= set(_STATUSES):
        raise _wrong(f"status is none of {', '.join(_STATUSES)}")
    return tuple(status for status in _STATUSES if status in given)


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE_SIZE
    if given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= LARGEST_PAGE:
        return int(given)
    raise _wrong(f"limit must be a number, 1 to {LARGEST_PAGE}")


def _position(given: str | None) -> tuple[datetime, str] | None:
    if given is None:
        return None
    try:
        place = base64.b64decode(given.encode("ascii") + b"=" * (-len(given) % 4), altchars=b"-_", validate=True)
        moment, _, saga_id = place.decode().partition(" ")
        created_at = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        raise _wrong("cursor is none that this server has given") from None
    if created_at.utcoffset() is None or not saga_id or not findable(saga_id):
        raise _wrong("cursor is none that this server has given")
    return created_at, saga_id


def _wrong(detail: str) -> Problem:
    return Problem(INVALID_INPUT, detail)

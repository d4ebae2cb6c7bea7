"""Entity tags, by which a decision is kept from what it was not taken for, and ``Prefer``, by which a client waits."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from hashlib import sha256

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import RUN_CHANGED
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import RunRecord

__all__ = ["Preference", "changed", "etag_of", "is_unchanged", "preference_of", "wanted_version"]

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_VERSION = re.compile(r"([0-9]{1,18})(?:-[0-9a-f]{8})?")
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)
_ASYNC = re.compile(r"(?:^|,)\s*respond-async\s*(?=[,;]|$)", re.IGNORECASE)


def etag_of(run: RunRecord, made_with: Hashable, form: str = "") -> str:
    """Return the entity tag of what is told of a run.

    Args:
        made_with: All else that it depends on, and a deployment may change; equal things have equal ``repr``.
        form: Tells apart what is not the run's document.
    """
    return f'"{run.version}-{_digest(made_with)}{form}"'


@lru_cache(maxsize=1000)
def _digest(made_with: Hashable) -> str:
    return sha256(repr(made_with).encode()).hexdigest()[:8]


def is_unchanged(request: HttpRequest, etag: str) -> bool:
    """Whether the client has what it would be sent."""
    given = request.header("If-None-Match")
    if given is None:
        return False
    return given.strip() == "*" or any(f'"{tag}"' == etag for _, tag in _TAG.findall(given))


def wanted_version(request: HttpRequest, run: RunRecord) -> int | None:
    """Return the version that a decision is for; None if it is for whatever there is.

    It is the run's alone, as lists tell it or as the begin of an entity tag: while a deployment is under way, processes
    disagree about the rest.

    Raises:
        Problem: It is for another one than the run has.
    """
    given = request.header("If-Match")
    if given is None or given.strip() == "*":
        return None
    # Weak ones never match here: RFC 9110, 13.1.1.
    tags = (_VERSION.fullmatch(tag) for weak, tag in _TAG.findall(given) if not weak)
    versions = {int(tag[1]) for tag in tags if tag is not None}
    if run.version not in versions:
        raise changed()
    return run.version


def changed() -> Problem:
    """Return what is told of a decision for a version that the run has no more."""
    return Problem(RUN_CHANGED, "Read it again, and decide about what it is now.")


@record
class Preference:
    """What is done of what a client prefers.

    Attributes:
        wait: For how many seconds the end is waited for.
        applied: The value of ``Preference-Applied``; None when the client prefers nothing that is known here.
    """

    wait: int
    applied: str | None


def preference_of(request: HttpRequest, longest_wait: float) -> Preference:
    """Return what is done of the ``Prefer`` header; the first of several ``wait`` counts."""
    given = request.header("Prefer") or ""
    waits, is_async = _WAIT.findall(given), _ASYNC.search(given) is not None
    wait = min(int(waits[0]), int(longest_wait)) if waits else 0
    applied = [*(["respond-async"] if is_async else []), *([f"wait={wait}"] if waits else [])]
    return Preference(wait, ", ".join(applied) or None)

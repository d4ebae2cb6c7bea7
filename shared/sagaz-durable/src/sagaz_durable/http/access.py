"""Who may read or decide about which runs: the application says so, and nobody may until it does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Literal

from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import NOT_FOUND
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import RunRecord
from sagaz_integration_core.error_text import value_text, visible
from sagaz_integration_core.errors import UsageError

__all__ = ["Actor", "Authorize", "Subject", "Verb", "allow", "not_found", "permits", "subject_of", "who_decides"]

logger = logging.getLogger(__name__)

Verb = Literal["list", "read", "cancel", "retry", "resolve", "run-now", "signal"]
"""What somebody wants to do. ``list``: have runs listed; each of them is listed only if it may be ``read``, too."""


@record
class Subject:
    """What somebody wants to read or decide about: one run; or for ``list``, the runs that were asked for.

    Attributes:
        saga_id: The run's; None for ``list``.
        saga_name: The saga's; None for ``list`` of all sagas.
        owner: Whose the run is, as it was started; None for one that was started for nobody, and for ``list`` of
            everybody's.
        signal: For ``signal``, the name of what is sent.
    """

    saga_id: str | None
    saga_name: str | None
    owner: str | None
    signal: str | None = None


Authorize = Callable[[Any, Verb, Subject], bool | Awaitable[bool]]
"""Is given the framework's request; True, and nothing else, permits."""

Actor = Callable[[Any], str | Awaitable[str]]
"""Is given the framework's request; returns who decides, for the audit."""


def subject_of(run: RunRecord, signal: str | None = None) -> Subject:
    """Return what is asked about, for one run."""
    return Subject(run.saga_id, run.saga_name, run.owner, signal)


def not_found() -> Problem:
    """Return what is told of a run that is not there, and just so of one that is somebody else's."""
    return Problem(NOT_FOUND, "Look at the id; or sign in as somebody who may see it.")


async def permits(authorize: Authorize | None, request: HttpRequest, verb: Verb, subject: Subject) -> bool:
    """Whether the application has said that this request may do that."""
    if authorize is None:
        return False
    granted: object = authorize(request.native, verb, subject)
    if isawaitable(granted):
        granted = await granted
    if granted is not True:
        logger.debug("%s of %s was not permitted", verb, visible(subject.saga_id or subject.saga_name or "runs", 200))
    return granted is True


async def allow(authorize: Authorize | None, request: HttpRequest, verb: Verb, subject: Subject) -> None:
    """Refuse what the application has not permitted.

    Raises:
        Problem: It is not found, as what is not there is not.
    """
    if not await permits(authorize, request, verb, subject):
        raise not_found()


async def who_decides(actor: Actor, request: HttpRequest) -> str:
    """Return who decides, for the audit.

    Raises:
        UsageError: The application names nobody.
    """
    named: object = actor(request.native)
    if isawaitable(named):
        named = await named
    if not isinstance(named, str) or not named.strip():
        raise UsageError(
            f"actor= returned {value_text(named, 60)}, which names nobody, and who decides about a run is kept with "
            "it. Return a name, as request.user.email, and let authorize= refuse those who have none."
        )
    return named

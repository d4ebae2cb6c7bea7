"""What people decide about runs, and the notes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import FINISHED, RunStatus
from sagaz_integration_core.contract.statuses import WebhookOutcome

__all__ = ["Action", "AuditRecord", "Erasure", "Intervention"]

Action = Literal["retry", "cancel", "resolve", "run-now", "signal", "erase", "replay", "dismiss"]
"""What a person can decide about a run, or about a webhook's event; a worker erases, too, when a setting says so."""


@record
class Intervention:
    """A person's decision about one run; it takes effect only while the run has this ``attempt`` and status ``found``.

    With ``version``, only while it has that, too: that nothing was recorded of it since it was looked at.

    The run gets ``status``, attempt + 1 (which fences out whoever executes it), no failures and no suspicions, and
    loses its lease. ``compensating`` and ``pending`` also tell the direction. One of `FINISHED` ends it; otherwise it
    is due at once, or when the lease that it had would have ended: by then its former owner has stopped.
    A run that it ``turns_back`` also forgets the compensations that failed, so that they are called again, and only its
    compensations go on waiting. ``error`` replaces the run's error when it is not None, and when it is a ``retry``,
    which also removes its deadline. ``waiting`` has the run's sleeps be over now; with one of `FINISHED` nothing of it
    goes on waiting.
    """

    saga_id: str
    attempt: int
    found: RunStatus
    status: RunStatus
    action: Action
    actor: str
    reason: str
    error: str | None = None
    events: tuple[EventWrite, ...] = ()
    version: int | None = None

    @property
    def turns_back(self) -> bool:
        """Whether the run rolls back by this, or tries that again; not one that is rolling back and goes on now."""
        return self.status == "compensating" and self.found != "compensating"


@record
class Erasure:
    """Which ended runs lose what their steps were given and returned, on whose word, and why.

    A chosen run gets an empty context, no results, a fingerprint that begins with `ERASED`, attempt + 1 (which fences
    out a decision that was taken before), and its sent events lose payload and headers. So do its waits; the signals
    that it took get `ERASED` as their fingerprint, and those to it that it did not take are deleted. Its row, status,
    error, journal, attempts and audit stay, and the audit gets a note. Left alone are runs that have not ended,
    that were erased before, that belong to sagaz's own engine, or that have events which were not sent.

    Attributes:
        saga_ids: Only these runs; None for all.
        before: Only runs that ended before that; None for all.
    """

    actor: str
    reason: str
    statuses: tuple[RunStatus, ...] = FINISHED
    saga_ids: tuple[str, ...] | None = None
    before: datetime | None = None


@record
class AuditRecord:
    """One row of ``sagaz_audit``: who decided what about a run, and why; ``at`` is an aware datetime in UTC.

    Of a webhook's event, ``saga_id`` is its `webhook_subject`, and ``found`` and ``status`` are its outcomes.
    """

    saga_id: str
    action: Action
    actor: str
    reason: str
    found: RunStatus | WebhookOutcome
    status: RunStatus | WebhookOutcome
    at: datetime

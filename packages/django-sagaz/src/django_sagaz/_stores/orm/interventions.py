"""What people decide about runs, and the notes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db.models import CharField, F, Q, Value
from django.db.models.functions import Concat

from django_sagaz._stores.orm import outbox as orm_outbox
from django_sagaz._stores.orm.attempts import end_attempt
from django_sagaz._stores.orm.rows import Moment, audit_record
from django_sagaz._stores.orm.runs import unlocked
from django_sagaz._stores.orm.waits import end_timers, forget_waits
from django_sagaz.models import AuditEntry, Run, Signal, Step
from sagaz_durable.stores.ended_leases import decision
from sagaz_integration_core.contract.decisions import AuditRecord, Intervention
from sagaz_integration_core.contract.records import FINISHED, FOREIGN
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["audit_of", "intervene", "load_audit"]

_PATIENCE_SECONDS = 1.0
"""How long a decision waits for a row that another transaction has locked."""

_PAUSE_SECONDS = 0.02

_DIRECTIONS = {"compensating": "back", "pending": "forward"}


def intervene(connection: Any, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    using, moment = connection.alias, Moment(connection)
    found = Run.objects.using(using).filter(pk=change.saga_id, attempt=change.attempt, status=change.found)
    found = found.exclude(fingerprint=FOREIGN)
    if change.version is not None:
        found = found.filter(version=change.version)
    run = _locked(connection, found)
    if run is None:
        return False
    # The condition again: without row locks somebody else may have been faster.
    if not found.update(**_changes(change, run, moment)):
        return False
    if run.lease_owner is not None:
        end_attempt(connection, run, run.lease_owner, "decided", moment.now, decision(change))
    if change.turns_back:
        Step.objects.using(using).filter(saga_id=change.saga_id, phase="undo", status="failed").delete()
    if change.status == "waiting":
        end_timers(connection, change.saga_id, moment)
    elif change.turns_back:
        forget_waits(connection, [change.saga_id], phase__in=("do", "redo"))
    elif change.status in FINISHED:
        forget_waits(connection, [change.saga_id])
    orm_outbox.insert_of_run(connection, change.saga_id, change.events)
    AuditEntry.objects.using(using).create(
        saga_id=change.saga_id,
        action=change.action,
        actor=change.actor,
        reason=change.reason,
        found=change.found,
        status=change.status,
        at=moment.now,
    )
    return True


def _changes(change: Intervention, run: Run, moment: Moment) -> dict[str, Any]:
    ends = change.status in FINISHED
    due = moment.now if run.lease_expires_at is None else max(moment.now, run.lease_expires_at)
    changes: dict[str, Any] = {
        "status": change.status,
        "attempt": change.attempt + 1,
        "failures": 0,
        "suspicions": 0,
        "alone": False,
        "version": F("version") + 1,
        "lease_owner": None,
        "lease_expires_at": None,
        "available_at": None if ends else due,
        "updated_at": moment.now,
        "finished_at": moment.now if ends else None,
    }
    if change.action == "retry":
        changes["deadline"] = None
    if change.error is not None or change.action == "retry":
        changes["error"] = change.error
    if change.status in _DIRECTIONS:
        changes["direction"] = _DIRECTIONS[change.status]
    return changes


def _locked(connection: Any, found: Any) -> Any:
    """Lock the run, within the time that nobody's transaction may hold us up; None when it is not what it was."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        wanted = found.only("attempt", "lease_owner", "lease_expires_at", "leased_at")
        run = unlocked(connection, wanted).first()
        if run is not None or not found.exists():
            return run
        if time.monotonic() >= until:
            raise StoreUnavailable(
                f"The row of run {found.values_list('pk', flat=True).first()} has been locked by another transaction "
                f"for {_PATIENCE_SECONDS:g} s, and nothing was changed. Try again, or find out who holds it."
            )
        time.sleep(_PAUSE_SECONDS)


def load_audit(connection: Any, saga_id: str) -> list[AuditRecord]:
    """Return the notes about one run, the oldest first."""
    entries = audit_of(connection.alias, [saga_id]).order_by("id")
    return [replace(audit_record(entry), saga_id=saga_id) for entry in entries]


def audit_of(using: str | None, saga_ids: Sequence[str]) -> Any:
    """Return the entries about these runs, with those of signals that came before anybody waited under their key."""
    taken = Signal.objects.using(using).filter(taken_by__in=saga_ids)
    notes = taken.annotate(note=Concat(Value("signal:"), "id", output_field=CharField())).values("note")
    return AuditEntry.objects.using(using).filter(Q(saga_id__in=saga_ids) | Q(saga_id__in=notes))

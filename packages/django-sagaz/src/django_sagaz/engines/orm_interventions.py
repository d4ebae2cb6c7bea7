"""What people decide about runs, and the notes of it."""

from __future__ import annotations

from typing import Any

from django_sagaz.engines import orm_outbox
from django_sagaz.engines.orm_rows import Moment, audit_record
from django_sagaz.models import AuditEntry, Run, Step
from sagaz_integration_core.outbox import of_run
from sagaz_integration_core.records import FINISHED, FOREIGN, AuditRecord, Intervention

__all__ = ["intervene", "load_audit"]


def intervene(connection: Any, change: Intervention) -> bool:
    """Carry out a decision and note it; False when the run has changed meanwhile."""
    using, moment = connection.alias, Moment(connection)
    found = Run.objects.using(using).filter(pk=change.saga_id, attempt=change.attempt, status=change.found)
    run = found.exclude(fingerprint=FOREIGN).only("lease_expires_at").select_for_update().first()
    if run is None:
        return False
    ends = change.status in FINISHED
    due = moment.now if run.lease_expires_at is None else max(moment.now, run.lease_expires_at)
    changes: dict[str, Any] = {
        "status": change.status,
        "attempt": change.attempt + 1,
        "failures": 0,
        "lease_owner": None,
        "lease_expires_at": None,
        "available_at": None if ends else due,
        "updated_at": moment.now,
        "finished_at": moment.now if ends else None,
    }
    if change.error is not None:
        changes["error"] = change.error
    # The condition again: without row locks somebody else may have been faster.
    if not found.update(**changes):
        return False
    if change.status == "compensating":
        Step.objects.using(using).filter(saga_id=change.saga_id, phase="undo", status="failed").delete()
    orm_outbox.insert(connection, [of_run(change.saga_id, event) for event in change.events])
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


def load_audit(connection: Any, saga_id: str) -> list[AuditRecord]:
    """Return the notes about one run, the oldest first."""
    entries = AuditEntry.objects.using(connection.alias).filter(saga_id=saga_id).order_by("id")
    return [audit_record(entry) for entry in entries]

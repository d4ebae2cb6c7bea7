"""What running sagas record: journal entries, events and their own end, fenced by owner and attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Case, CharField, F, Value, When

from django_sagaz._stores.orm import outbox as orm_outbox
from django_sagaz._stores.orm.attempts import end_attempt
from django_sagaz._stores.orm.rows import Moment, json_text
from django_sagaz._stores.orm.runs import held, unlocked
from django_sagaz._stores.orm.waits import record_waits, wait_ends_at
from django_sagaz.models import Run, Step
from sagaz_durable.stores.ended_leases import released
from sagaz_integration_core.contract.records import FINISHED, RunWrite, StepWrite

__all__ = ["write"]


def write(connection: Any, writes: Sequence[RunWrite]) -> list[bool | None]:
    """Record the writes in order; False for each whose run is not its owner's any more, None for a locked row."""
    moment = Moment(connection)
    # Rows are locked in the order of their ids, so that no two batches wait for each other.
    order = sorted(range(len(writes)), key=lambda n: writes[n].saga_id)
    answers = {n: _write(connection, writes[n], moment) for n in order}
    return [answers[n] for n in range(len(writes))]


def _write(connection: Any, write: RunWrite, moment: Moment) -> bool | None:
    of_owner = held(connection, write.saga_id, write.owner, write.attempt)
    run = unlocked(connection, of_owner).only("attempt", "leased_at", "error", "deadline").first()
    if run is None:
        return None if of_owner.exists() else False
    # The condition again: without row locks somebody else may have been faster.
    if not of_owner.update(**_changes(write, moment)):
        return False
    for n, step in enumerate(write.steps):
        _write_step(connection, write, step, moment.after(n / 1_000_000))
    record_waits(connection, write, moment)
    orm_outbox.insert_of_run(connection, write.saga_id, write.events)
    if write.status == "failed":
        error = run.error if write.error is None else write.error
        end_attempt(connection, run, write.owner, "failed", moment.now, error)
    elif write.release is not None and write.release.waits:
        due_at = wait_ends_at(connection, write, run.deadline, moment)
        Run.objects.using(connection.alias).filter(pk=write.saga_id).update(status="waiting", available_at=due_at)
    elif write.release is not None:
        end_attempt(connection, run, write.owner, released(write.release), moment.now, write.release.detail)
    return True


def _changes(write: RunWrite, moment: Moment) -> dict[str, Any]:
    changes: dict[str, Any] = {"updated_at": moment.now, "version": F("version") + 1}
    failures: Any = F("failures")
    if write.progress:
        failures = Value(0)
        changes |= {"failures": 0, "suspicions": 0, "alone": False}
    if write.status is not None:
        changes["status"] = write.status
    if write.status == "compensating":
        changes["direction"] = "back"
    if write.error is not None:
        changes["error"] = write.error
    if write.status in FINISHED:
        changes |= {"finished_at": moment.now, "available_at": None, "lease_owner": None, "lease_expires_at": None}
    elif write.release is not None:
        changes |= {
            "available_at": moment.after(write.release.delay),
            "lease_owner": None,
            "lease_expires_at": None,
            "failures": failures + int(write.release.failed),
            "status": _released(write.status),
        }
    return changes


def _released(status: str | None) -> Any:
    if status is not None:
        return "pending" if status == "executing" else status
    return Case(When(status="executing", then=Value("pending")), default=F("status"), output_field=CharField())


def _write_step(connection: Any, write: RunWrite, step: StepWrite, at: Any) -> None:
    started = step.status == "started"
    key = {"saga_id": write.saga_id, "step": step.step, "phase": step.phase}
    changes: dict[str, Any] = {
        "status": step.status,
        "result": None if started else json_text(step.result),
        "error": None if started else step.error,
        "finished_at": None if started else at,
    }
    if started:
        compensated = step.compensated and step.phase == "do"
        changes |= {"attempt": write.attempt, "started_at": at, "compensated": compensated}
    steps = Step.objects.using(connection.alias)
    if not steps.filter(**key).update(**changes):
        steps.create(**key, **{"attempt": write.attempt, **changes})

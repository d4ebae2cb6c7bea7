"""Runs come in, are claimed, and stay claimed as long as their lease is renewed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.db.models.sql import InsertQuery

from django_sagaz.engines.orm_rows import Moment, as_text, json_text, step_record, stored
from django_sagaz.models import Run, Step
from sagaz_integration_core.records import (
    ACTIVE,
    ClaimedRun,
    FirstSteps,
    Inserted,
    NewRun,
    StepRecord,
    begun_by_claim,
)

__all__ = ["claim", "held", "insert", "renew", "steps_of"]


def insert(connection: Any, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there."""
    moment = Moment(connection)
    return [_insert(connection, run, moment, lease_seconds) for run in runs]


def _insert(connection: Any, run: NewRun, moment: Moment, lease_seconds: float) -> Inserted:
    try:
        # Not create(): its error would mark the caller's transaction as broken, and only the statement has failed.
        _execute_insert(connection, _new(run, moment, lease_seconds))
    except IntegrityError:
        return Inserted(run.saga_id, False, _fingerprint(connection, run.saga_id))
    if run.owner is not None:
        _begin(connection, [(run.saga_id, run.first_steps)], moment)
    return Inserted(run.saga_id, True, run.fingerprint)


def _fingerprint(connection: Any, saga_id: str) -> str:
    found: str | None = (
        Run.objects.using(connection.alias).filter(pk=saga_id).values_list("fingerprint", flat=True).first()
    )
    if found is not None:
        return found
    # With REPEATABLE READ, only a lock shows what others have committed since this transaction began. Not FOR UPDATE:
    # several starts have the row's shared lock by now, and would wait for each other.
    with connection.cursor() as cursor:
        cursor.execute("SELECT fingerprint FROM sagaz_run WHERE saga_id = %s LOCK IN SHARE MODE", [saga_id])
        return str(cursor.fetchone()[0])


def _execute_insert(connection: Any, run: Run) -> None:
    query = InsertQuery(Run)
    query.insert_values(Run._meta.concrete_fields, [run])  # noqa: SLF001 - Django documents it
    with connection.cursor() as cursor:
        for statement, values in query.get_compiler(using=connection.alias).as_sql():
            cursor.execute(statement, values)


def _new(run: NewRun, moment: Moment, lease_seconds: float) -> Run:
    leased = run.owner is not None
    expires = moment.after(lease_seconds) if leased else None
    due = moment.now if run.not_before is None else stored(run.not_before)
    return Run(
        saga_id=run.saga_id,
        saga_name=run.saga_name,
        status="executing" if leased else "pending",
        context=json_text(run.context),
        correlation_id=run.correlation_id,
        attempt=int(leased),
        failures=0,
        lease_owner=run.owner,
        lease_expires_at=expires,
        available_at=expires or due,
        created_at=moment.now,
        updated_at=moment.now,
        fingerprint=run.fingerprint,
    )


def claim(
    connection: Any,
    owner: str,
    limit: int,
    lease_seconds: float,
    saga_ids: Sequence[str] | None,
    first_steps: FirstSteps,
) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    moment = Moment(connection)
    # Ordered by the index alone: with another key, MariaDB would lock every due row to sort them.
    due = _unlocked(connection).filter(available_at__lte=moment.now).order_by("available_at")
    if saga_ids is not None:
        due = due.filter(saga_id__in=saga_ids)
    runs = [run for run in due[:limit] if _take(connection, run, owner, moment, lease_seconds)]
    journals = steps_of(connection, [run.saga_id for run in runs if run.attempt])
    claimed = [_claimed(run, journals[run.saga_id], first_steps) for run in runs]
    _begin(connection, [(run.saga_id, run.begun) for run in claimed], moment)
    return claimed


def _begin(connection: Any, runs: Iterable[tuple[str, Sequence[str]]], moment: Moment) -> None:
    Step.objects.using(connection.alias).bulk_create(
        Step(saga_id=saga_id, step=step, phase="do", status="started", attempt=1, started_at=moment.after(n / 1e6))
        for saga_id, steps in runs
        for n, step in enumerate(steps)
    )


def _unlocked(connection: Any) -> QuerySet[Run]:
    runs = Run.objects.using(connection.alias).annotate(context_text=as_text("context")).defer("context")
    features = connection.features
    if features.has_select_for_update_skip_locked and features.supports_select_for_update_with_limit:
        return runs.select_for_update(skip_locked=True)
    return runs


def _take(connection: Any, run: Any, owner: str, moment: Moment, lease_seconds: float) -> bool:
    # Without row locks somebody else may have been faster.
    expires = moment.after(lease_seconds)
    same = Run.objects.using(connection.alias).filter(pk=run.pk, attempt=run.attempt, available_at=run.available_at)
    taken = same.update(
        status="executing" if run.status == "pending" else run.status,
        attempt=run.attempt + 1,
        # A lease that is still there has ended without a release.
        failures=run.failures + (run.lease_owner is not None),
        lease_owner=owner,
        lease_expires_at=expires,
        available_at=expires,
        updated_at=moment.now,
    )
    return taken == 1


def _claimed(run: Any, steps: Iterable[StepRecord], first_steps: FirstSteps) -> ClaimedRun:
    return ClaimedRun(
        run.saga_id,
        run.saga_name,
        "executing" if run.status == "pending" else run.status,
        run.context_text,
        run.error,
        run.correlation_id,
        run.attempt + 1,
        run.failures + (run.lease_owner is not None),
        tuple(steps),
        begun_by_claim(run.saga_name, run.attempt + 1, first_steps),
    )


def renew(connection: Any, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> set[str]:
    """Prolong leases; return the saga_ids of those that are still held."""
    expires = Moment(connection).after(lease_seconds)
    return {
        saga_id
        for saga_id, attempt in sorted(runs)
        if held(connection, saga_id, owner, attempt).update(lease_expires_at=expires, available_at=expires)
    }


def held(connection: Any, saga_id: str, owner: str, attempt: int) -> QuerySet[Run]:
    """Return the run if this owner still holds it, under this attempt."""
    return Run.objects.using(connection.alias).filter(pk=saga_id, lease_owner=owner, attempt=attempt, status__in=ACTIVE)


def steps_of(connection: Any, saga_ids: Sequence[str]) -> dict[str, list[StepRecord]]:
    """Return the journals of these runs, each in the order in which its entries were started."""
    journals: dict[str, list[StepRecord]] = defaultdict(list)
    if saga_ids:
        entries = Step.objects.using(connection.alias).filter(saga_id__in=saga_ids)
        entries = entries.annotate(result_text=as_text("result")).defer("result")
        for step in entries.order_by(Coalesce("started_at", "finished_at"), "step", "phase"):
            journals[step.saga_id].append(step_record(step))
    return journals

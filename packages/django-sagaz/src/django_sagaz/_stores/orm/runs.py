"""Runs come in, and stay claimed as long as their lease is renewed; their journals."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.sql import InsertQuery

from django_sagaz._stores.orm.rows import Moment, as_text, json_text, step_record, stored
from django_sagaz.models import Run, Step
from sagaz_durable.transactions.insertion import own_row_seconds
from sagaz_integration_core.contract.records import ACTIVE, FirstStep, Inserted, NewRun, Renewal, StepRecord

__all__ = ["begin", "held", "insert", "load_steps", "renew", "steps_of", "unlocked"]


def insert(
    connection: Any, runs: Sequence[NewRun], lease_seconds: float, *, began_at: float | None = None
) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there.

    Args:
        began_at: The monotonic time before an earlier try, whose answer was lost: what it has made is recognised.
    """
    moment = Moment(connection)
    inserted = [_insert(connection, run, moment, lease_seconds) for run in runs]
    if began_at is None:
        return inserted
    oldest = moment.after(-own_row_seconds(time.monotonic() - began_at, lease_seconds))
    return [
        Inserted(run.saga_id, True, run.fingerprint, recognised=True, owner=run.owner)
        if not answer.created and _is_own(connection, run, oldest)
        else answer
        for run, answer in zip(runs, inserted, strict=True)
    ]


def _is_own(connection: Any, run: NewRun, oldest: Any) -> bool:
    made = Run.objects.using(connection.alias).filter(pk=run.saga_id, fingerprint=run.fingerprint)
    made = made.filter(created_at__gt=oldest, attempt=int(run.lease_owner is not None))
    return made.filter(_is("lease_owner", run.lease_owner), _is("owner", run.owner)).exists()


def _is(column: str, value: str | None) -> Q:
    return Q(**{f"{column}__isnull": True} if value is None else {column: value})


def _insert(connection: Any, run: NewRun, moment: Moment, lease_seconds: float) -> Inserted:
    # Only MySQL's transactions go on after an error of a statement.
    spared = nullcontext() if connection.vendor == "mysql" else transaction.atomic(connection.alias)
    try:
        # Not create(): its error would mark the caller's transaction as broken, and only the statement has failed.
        with spared:
            _execute_insert(connection, _new(run, moment, lease_seconds))
    except IntegrityError:
        fingerprint, owner = _found(connection, run.saga_id)
        return Inserted(run.saga_id, False, fingerprint, owner=owner)
    if run.lease_owner is not None:
        begin(connection, [(run.saga_id, run.first_steps)], moment)
    return Inserted(run.saga_id, True, run.fingerprint, owner=run.owner)


def _found(connection: Any, saga_id: str) -> tuple[str, str | None]:
    found: tuple[str, str | None] | None = (
        Run.objects.using(connection.alias).filter(pk=saga_id).values_list("fingerprint", "owner").first()
    )
    if found is not None:
        return found
    # With REPEATABLE READ, only a lock shows what others have committed since this transaction began. Not FOR UPDATE:
    # several starts have the row's shared lock by now, and would wait for each other.
    with connection.cursor() as cursor:
        cursor.execute("SELECT fingerprint, owner FROM sagaz_run WHERE saga_id = %s LOCK IN SHARE MODE", [saga_id])
        [fingerprint, owner] = cursor.fetchone()
        return str(fingerprint), owner


def _execute_insert(connection: Any, run: Run) -> None:
    query = InsertQuery(Run)
    query.insert_values(Run._meta.concrete_fields, [run])  # noqa: SLF001 - Django documents it
    with connection.cursor() as cursor:
        for statement, values in query.get_compiler(using=connection.alias).as_sql():
            cursor.execute(statement, values)


def _new(run: NewRun, moment: Moment, lease_seconds: float) -> Run:
    leased = run.lease_owner is not None
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
        lease_owner=run.lease_owner,
        lease_expires_at=expires,
        available_at=expires or due,
        created_at=moment.now,
        updated_at=moment.now,
        fingerprint=run.fingerprint,
        direction="forward",
        version=1,
        leased_at=moment.now if leased else None,
        suspicions=0,
        alone=False,
        deadline=_deadline(run, moment),
        owner=run.owner,
    )


def _deadline(run: NewRun, moment: Moment) -> Any:
    if run.deadline is None:
        return None
    return stored(run.deadline) if isinstance(run.deadline, datetime) else moment.after(run.deadline)


def begin(connection: Any, runs: Iterable[tuple[str, Sequence[FirstStep]]], moment: Moment) -> None:
    """Journal the steps with which these runs begin."""
    Step.objects.using(connection.alias).bulk_create(
        Step(
            saga_id=saga_id,
            step=step.name,
            phase="do",
            status="started",
            attempt=1,
            started_at=moment.after(n / 1e6),
            compensated=step.compensated,
        )
        for saga_id, steps in runs
        for n, step in enumerate(steps)
    )


def renew(connection: Any, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
    """Prolong leases."""
    expires = Moment(connection).after(lease_seconds)
    mine, locked = set(), set()
    for saga_id, attempt in sorted(runs):
        of_owner = held(connection, saga_id, owner, attempt)
        if unlocked(connection, of_owner).only("saga_id").first() is None:
            if of_owner.exists():
                locked.add(saga_id)
        elif of_owner.update(lease_expires_at=expires, available_at=expires):
            mine.add(saga_id)
    return Renewal(mine, locked)


def unlocked(connection: Any, runs: QuerySet[Run]) -> QuerySet[Run]:
    """Lock these runs, but for those that another transaction has locked; without row locks, just find them."""
    features = connection.features
    if features.has_select_for_update_skip_locked and features.supports_select_for_update_with_limit:
        return runs.select_for_update(skip_locked=True)
    return runs


def held(connection: Any, saga_id: str, owner: str, attempt: int) -> QuerySet[Run]:
    """Return the run if this owner still holds it, under this attempt."""
    return Run.objects.using(connection.alias).filter(pk=saga_id, lease_owner=owner, attempt=attempt, status__in=ACTIVE)


def load_steps(connection: Any, saga_id: str) -> list[StepRecord]:
    """Return a run's journal in the order in which its entries were started."""
    return steps_of(connection, [saga_id])[saga_id]


def steps_of(connection: Any, saga_ids: Sequence[str]) -> dict[str, list[StepRecord]]:
    """Return the journals of these runs, each in the order in which its entries were started."""
    journals: dict[str, list[StepRecord]] = defaultdict(list)
    if saga_ids:
        entries = Step.objects.using(connection.alias).filter(saga_id__in=saga_ids)
        entries = entries.annotate(result_text=as_text("result")).defer("result")
        for step in entries.order_by(Coalesce("started_at", "finished_at"), "step", "phase"):
            journals[step.saga_id].append(step_record(step))
    return journals

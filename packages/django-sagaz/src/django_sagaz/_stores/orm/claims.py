"""Claims: leases that ended are settled, and what is due goes to its new owner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import F, Min, Q, QuerySet

from django_sagaz._stores.orm.attempts import end_leases
from django_sagaz._stores.orm.rows import Moment, as_text, aware
from django_sagaz._stores.orm.runs import begin, steps_of, unlocked
from django_sagaz._stores.orm.waits import rouse, settle
from django_sagaz.models import Attempt, Run, WorkerProcess
from sagaz_durable.stores.ended_leases import ALONE_FROM, Verdict, executed_as, jitter, most_alone, verdict
from sagaz_durable.stores.wanted_runs import Wanted, beside_woken, half_of
from sagaz_integration_core.contract.records import ClaimedRun, FirstSteps, StepRecord, begun_by_claim
from sagaz_integration_core.contract.waits import WaitRecord

__all__ = ["any_alone", "claim"]

_LEASED = ("executing", "compensating")


def claim(connection: Any, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    moment = Moment(connection)
    if wanted.alone:
        limit = min(limit, _room(connection, wanted.sagas, moment))
    rouse(connection, wanted.sagas, moment)
    due = _next(connection, wanted, limit, moment)
    while _suspected(connection, due, moment, lease_seconds):
        due = _next(connection, wanted, limit, moment)
    verdicts: dict[str, Verdict] = {
        run.lease_owner: _verdict(connection, run.lease_owner, moment) for run in due if run.lease_owner
    }
    runs = [run for run in due if _take(connection, run, owner, moment, lease_seconds, verdicts.get(run.lease_owner))]
    dead = _after_death(connection, runs)
    waits = settle(connection, runs, moment)
    journals = steps_of(connection, [run.saga_id for run in runs if run.attempt])
    claimed = [
        _claimed(
            run,
            journals[run.saga_id],
            waits.get(run.saga_id, ()),
            wanted.sagas,
            verdicts.get(run.lease_owner),
            moment,
            after_death=run.pk in dead,
        )
        for run in runs
    ]
    begun = [(run.saga_id, begun_by_claim(run.saga_name, run.attempt, wanted.sagas)) for run in claimed]
    begin(connection, begun, moment)
    return claimed


def any_alone(connection: Any, sagas: Collection[str]) -> bool:
    """Whether a run is due that is to be executed alone."""
    runs = Run.objects.using(connection.alias).filter(saga_name__in=list(sagas), alone=True)
    return bool(runs.filter(available_at__lte=Moment(connection).now).exists())


def _room(connection: Any, sagas: FirstSteps, moment: Moment) -> int:
    """Return whether there is room for one more run that is executed alone."""
    runs = Run.objects.using(connection.alias).filter(saga_name__in=list(sagas), alone=True)
    busy = runs.filter(available_at__gt=moment.now, lease_owner__isnull=False).count()
    workers = WorkerProcess.objects.using(connection.alias).filter(kind="worker", alive_until__gt=moment.now)
    able = sum(not sagas.keys().isdisjoint(known) for known in workers.values_list("sagas", flat=True))
    return int(busy < most_alone(able))


def _due(connection: Any, wanted: Wanted, limit: int, moment: Moment) -> list[Any]:
    """Lock what is due, beginning with the saga whose oldest run has waited longest.

    Only one query for each saga keeps MariaDB from locking rows that it passes over.
    """
    runs = Run.objects.using(connection.alias).filter(alone=wanted.alone)
    if wanted.saga_ids is not None:
        runs = runs.filter(saga_id__in=wanted.saga_ids)
    first = runs.filter(saga_name__in=list(wanted.sagas), available_at__isnull=False)
    oldest = first.values("saga_name").annotate(oldest=Min("available_at")).order_by()
    waiting = sorted((row["oldest"], row["saga_name"]) for row in oldest if row["oldest"] <= moment.now)
    found: list[Any] = []
    for _, name in waiting:
        of_saga = _complete(runs.filter(saga_name=name, available_at__lte=moment.now)).order_by("available_at")
        found += unlocked(connection, of_saga)[: limit - len(found)]
        if len(found) >= limit:
            break
    return sorted(found, key=lambda run: run.available_at)


def _next(connection: Any, wanted: Wanted, limit: int, moment: Moment) -> list[Any]:
    oldest = _due(connection, wanted, limit, moment)
    if wanted.saga_ids is not None or not oldest or oldest[0].status != "waiting":
        return oldest
    half, runs = half_of(limit), Run.objects.using(connection.alias).filter(alone=wanted.alone)
    newest: list[tuple[Any, str, str]] = []
    for name in wanted.sagas:
        due = runs.filter(saga_name=name, available_at__lte=moment.now).order_by("-available_at")
        newest += due.values_list("available_at", "pk", "status")[: 2 * limit]
    chosen = [pk for _, pk, status in sorted(newest, reverse=True) if status != "waiting"][:half]
    young = runs.filter(pk__in=chosen, available_at__lte=moment.now).exclude(status="waiting")
    return beside_woken(oldest, list(unlocked(connection, _complete(young))) if chosen else [], limit, half)


def _complete(runs: QuerySet[Run]) -> QuerySet[Any]:
    return runs.annotate(context_text=as_text("context")).defer("context")


def _suspected(connection: Any, due: Iterable[Any], moment: Moment, lease_seconds: float) -> bool:
    """Settle the leases of owners that died while they had several runs; False when there was none."""
    owners = {run.lease_owner for run in due if run.lease_owner is not None}
    settled = False
    for owner in owners:
        if _verdict(connection, owner, moment) == "suspects":
            ended = list(unlocked(connection, _leased(connection, owner).filter(available_at__lte=moment.now)))
            for run in ended:
                _suspect(connection, run, moment, lease_seconds)
            settled = settled or bool(ended)
    return settled


def _suspect(connection: Any, run: Any, moment: Moment, lease_seconds: float) -> None:
    end_leases(connection, [run], "died")
    Run.objects.using(connection.alias).filter(pk=run.pk, attempt=run.attempt).update(
        suspicions=run.suspicions + 1,
        alone=run.suspicions + 1 >= ALONE_FROM,
        status="pending" if run.status == "executing" else run.status,
        lease_owner=None,
        lease_expires_at=None,
        available_at=moment.after(jitter(lease_seconds)),
        updated_at=moment.now,
        version=F("version") + 1,
    )


def _leased(connection: Any, owner: str) -> QuerySet[Run]:
    return Run.objects.using(connection.alias).filter(status__in=_LEASED, lease_owner=owner)


def _verdict(connection: Any, owner: str, moment: Moment) -> Verdict:
    workers = WorkerProcess.objects.using(connection.alias)
    died = Attempt.objects.using(connection.alias).filter(owner=owner, outcome="died")
    return verdict(
        lives=workers.filter(name=owner, alive_until__gt=moment.now).exists(),
        company=len(_leased(connection, owner).values_list("pk")[:2]) > 1 or died.exists(),
    )


def _take(connection: Any, run: Any, owner: str, moment: Moment, lease_seconds: float, ended: Verdict | None) -> bool:
    # Without row locks somebody else may have been faster.
    expires = moment.after(lease_seconds)
    same = Run.objects.using(connection.alias).filter(pk=run.pk, attempt=run.attempt, available_at=run.available_at)
    taken = same.update(
        status=executed_as(run.status, run.direction),
        attempt=run.attempt + 1,
        failures=run.failures + (ended == "charged"),
        lease_owner=owner,
        lease_expires_at=expires,
        available_at=expires,
        updated_at=moment.now,
        leased_at=moment.now,
        version=F("version") + 1,
    )
    if taken and ended is not None:
        end_leases(connection, [run], "lost" if ended == "lost" else "died")
    return taken == 1


def _after_death(connection: Any, runs: Collection[Any]) -> set[str]:
    """Return which of these runs had an attempt before that gave no end of its own."""
    former = Q()
    for run in runs:
        if run.attempt:
            former |= Q(saga_id=run.pk, attempt=run.attempt)
    if not former:
        return set()
    attempts = Attempt.objects.using(connection.alias).filter(former, outcome__in=("died", "lost"))
    return set(attempts.values_list("saga_id", flat=True))


def _claimed(
    run: Any,
    steps: Iterable[StepRecord],
    waits: Iterable[WaitRecord],
    sagas: FirstSteps,
    ended: Verdict | None,
    moment: Moment,
    *,
    after_death: bool,
) -> ClaimedRun:
    deadline = aware(run.deadline)
    return ClaimedRun(
        run.saga_id,
        run.saga_name,
        executed_as(run.status, run.direction),
        run.context_text,
        run.error,
        run.correlation_id,
        run.attempt + 1,
        run.failures + (ended == "charged"),
        tuple(steps),
        tuple(step.name for step in begun_by_claim(run.saga_name, run.attempt + 1, sagas)),
        run.direction,
        run.version + 1,
        run.suspicions,
        run.alone,
        after_death,
        tuple(waits),
        None if deadline is None else (deadline - moment.utc).total_seconds(),
    )

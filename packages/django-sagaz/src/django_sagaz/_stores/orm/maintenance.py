"""What is asked about runs, workers' signs of life, rows of sagaz's own engine, and the deletion of old runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q

from django_sagaz._stores.orm.interventions import audit_of
from django_sagaz._stores.orm.rows import Moment, as_text, aware, json_text, run_record, stored, worker_record
from django_sagaz._stores.orm.waits import forget_waits, see
from django_sagaz.models import Attempt, OutboxEvent, Run, Signal, Step, Wait, WorkerProcess
from sagaz_integration_core.contract.listings import RunFilter, StoreStats, WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, FOREIGN, RunRecord, RunStatus
from sagaz_integration_core.contract.waits import DECISIONS

__all__ = [
    "count_prunable",
    "delete",
    "find",
    "heartbeat",
    "live_workers",
    "load",
    "prune",
    "save_foreign",
    "stats",
    "statuses",
]


def load(connection: Any, saga_id: str) -> RunRecord | None:
    """Return one run."""
    run = _runs(connection).filter(pk=saga_id).first()
    return None if run is None else run_record(run)


def statuses(connection: Any, saga_ids: Collection[str]) -> dict[str, RunStatus]:
    """Return the statuses of these runs."""
    runs = Run.objects.using(connection.alias).filter(pk__in=list(saga_ids))
    return dict(runs.values_list("saga_id", "status"))


def find(connection: Any, query: RunFilter) -> list[RunRecord]:
    """Return the runs that match, the newest first."""
    runs = _matching(connection, query)
    if query.owner is None:
        found = runs.filter(status__in=query.statuses) if query.statuses else runs
        return [run_record(run) for run in found[: query.limit]]
    # The newest of each status come from the index on owner, status and time, however many there are. These are all
    # statuses: sagaz's own rows, which may have others, have no owner.
    statuses: Sequence[RunStatus] = query.statuses or (*ACTIVE, *FINISHED)
    newest = [run for status in dict.fromkeys(statuses) for run in runs.filter(status=status)[: query.limit]]
    newest.sort(key=lambda run: (run.created_at, run.saga_id), reverse=True)
    return [run_record(run) for run in newest[: query.limit]]


def _matching(connection: Any, query: RunFilter) -> Any:
    """Return the runs that match but for their status, the newest first."""
    runs = _runs(connection).order_by("-created_at", "-saga_id")
    if query.saga_name is not None:
        runs = runs.filter(saga_name=query.saga_name)
    if query.correlation_id is not None:
        runs = runs.filter(correlation_id=query.correlation_id)
    if query.owner is not None:
        runs = runs.filter(owner=query.owner)
    if query.before is not None:
        created_at, saga_id = stored(query.before[0]), query.before[1]
        runs = runs.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, saga_id__lt=saga_id))
    return runs


def _runs(connection: Any) -> Any:
    return Run.objects.using(connection.alias).annotate(context_text=as_text("context")).defer("context")


def stats(connection: Any) -> StoreStats:
    """Return the figures for a health check."""
    moment = Moment(connection)
    runs = Run.objects.using(connection.alias)
    counts: dict[RunStatus, int] = dict.fromkeys((*ACTIVE, *FINISHED), 0)
    counts.update(runs.values_list("status").annotate(n=Count("pk")).order_by())
    due = runs.filter(available_at__lte=moment.now).order_by()
    by_saga: dict[str, int] = dict(due.values_list("saga_name").annotate(n=Count("pk")))
    oldest = aware(due.aggregate(oldest=Min("available_at"))["oldest"])
    age = None if oldest is None else (moment.utc - oldest).total_seconds()
    events = OutboxEvent.objects.using(connection.alias)
    first = aware(events.filter(status="pending").aggregate(first=Min("created_at"))["first"])
    unsent_age = None if first is None else (moment.utc - first).total_seconds()
    live = _live(connection, moment).exclude(kind="web").count()
    dead = events.filter(status="dead").count()
    untaken = Signal.objects.using(connection.alias).filter(taken_at=None).count()
    overdue = runs.filter(deadline__lt=moment.now, finished_at=None).count()
    asked = Wait.objects.using(connection.alias).filter(outcome=None, name__startswith=DECISIONS)
    asking = asked.aggregate(runs=Count("saga_id", distinct=True))["runs"]
    return StoreStats(counts, sum(by_saga.values()), age, live, dead, unsent_age, by_saga, untaken, overdue, asking)


def heartbeat(
    connection: Any, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
) -> None:
    """Note until when a process is alive, and forget those that are not."""
    moment = Moment(connection)
    workers = WorkerProcess.objects.using(connection.alias)
    workers.filter(Q(alive_until__lte=moment.now) | Q(name=worker)).delete()
    if seconds > 0:
        workers.create(name=worker, kind=kind, sagas=sorted(sagas), alive_until=moment.after(seconds))
    see(connection, moment)


def live_workers(connection: Any) -> list[WorkerRecord]:
    """Return the processes that are alive."""
    return [worker_record(worker) for worker in _live(connection, Moment(connection)).order_by("name")]


def _live(connection: Any, moment: Moment) -> Any:
    return WorkerProcess.objects.using(connection.alias).filter(alive_until__gt=moment.now)


def save_foreign(
    connection: Any, saga_id: str, saga_name: str, status: str, context: str, correlation_id: str | None
) -> bool:
    """Insert or update a row of sagaz's own engine; False when a run of ours has this saga_id."""
    now = Moment(connection).now
    changes: dict[str, Any] = {
        "saga_name": saga_name,
        "status": status,
        "context": json_text(context),
        "updated_at": now,
        "finished_at": now if status in FINISHED else None,
    }
    if correlation_id is not None:
        changes["correlation_id"] = correlation_id
    runs = Run.objects.using(connection.alias)
    if runs.filter(pk=saga_id, fingerprint=FOREIGN).update(**changes):
        return True
    if runs.filter(pk=saga_id).exists():
        return False
    runs.create(saga_id=saga_id, attempt=0, failures=0, created_at=now, fingerprint=FOREIGN, **changes)
    return True


def delete(connection: Any, saga_id: str) -> bool:
    """Delete a finished or foreign run with its journal; its events stay until they are sent."""
    return bool(_delete(connection, [saga_id]))


def prune(connection: Any, older_than: datetime, statuses: Sequence[RunStatus], limit: int) -> int:
    """Delete runs that ended before ``older_than``, those first that ended first."""
    old = _ended(connection, older_than, statuses)
    return _delete(connection, list(old.order_by("finished_at").values_list("saga_id", flat=True)[:limit]))


def count_prunable(connection: Any, older_than: datetime, statuses: Sequence[RunStatus]) -> int:
    """Return how many runs ended before ``older_than``."""
    return int(_ended(connection, older_than, statuses).count())


def _ended(connection: Any, older_than: datetime, statuses: Sequence[RunStatus]) -> Any:
    return Run.objects.using(connection.alias).filter(status__in=statuses, finished_at__lt=stored(older_than))


def _delete(connection: Any, saga_ids: Sequence[str]) -> int:
    using = connection.alias
    deletable = Q(fingerprint=FOREIGN) | Q(status__in=FINISHED)
    gone = list(Run.objects.using(using).filter(deletable, pk__in=saga_ids).values_list("saga_id", flat=True))
    Step.objects.using(using).filter(saga_id__in=gone).delete()
    Attempt.objects.using(using).filter(saga_id__in=gone).delete()
    audit_of(using, gone).delete()
    forget_waits(connection, gone)
    OutboxEvent.objects.using(using).filter(saga_id__in=gone, status="sent").delete()
    return Run.objects.using(using).filter(pk__in=gone).delete()[0]

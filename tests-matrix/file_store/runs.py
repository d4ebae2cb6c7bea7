"""Runs come in, are claimed, renewed, written and decided about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from file_store import waits
from file_store.outbox import add
from file_store.tables import Run, Tables, now
from sagaz_durable.stores.ended_leases import ALONE_FROM, decision, executed_as, jitter, most_alone, released, verdict
from sagaz_durable.stores.wanted_runs import Wanted, beside_woken, half_of
from sagaz_integration_core.contract.decisions import AuditRecord, Intervention
from sagaz_integration_core.contract.events import EventWrite, of_run
from sagaz_integration_core.contract.listings import WorkerKind, WorkerRecord
from sagaz_integration_core.contract.records import (
    FINISHED,
    FOREIGN,
    ClaimedRun,
    FirstStep,
    Inserted,
    NewRun,
    Renewal,
    RunRecord,
    RunStatus,
    RunWrite,
    StepWrite,
    begun_by_claim,
)

FREE: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None}


def insert(tables: Tables, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    moment, answers = now(), []
    for new in runs:
        old = tables.runs.get(new.saga_id)
        there = new if old is None else old.row
        answers.append(Inserted(new.saga_id, old is None, there.fingerprint, owner=there.owner))
        if old is None:
            run = tables.runs[new.saga_id] = Run(_row(new, moment, lease_seconds))
            _begin(run, new.first_steps if new.lease_owner else (), moment)
    return answers


def _row(new: NewRun, moment: datetime, lease_seconds: float) -> RunRecord:
    leased = new.lease_owner is not None
    expires = moment + timedelta(seconds=lease_seconds) if leased else None
    return RunRecord(
        new.saga_id, new.saga_name, "executing" if leased else "pending", new.context, None, new.correlation_id,
        int(leased), 0, new.lease_owner, expires, expires or new.not_before or moment, moment, moment, None,
        new.fingerprint,
        leased_at=moment if leased else None,
        deadline=moment + timedelta(seconds=new.deadline) if isinstance(new.deadline, float) else new.deadline,
        owner=new.owner,
    )  # fmt: skip


def _begin(run: Run, steps: Sequence[FirstStep], moment: datetime) -> None:
    for step in steps:
        run.enter(StepWrite(step.name, "do", "started", compensated=step.compensated), moment)


def claim(tables: Tables, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
    moment, taken = now(), list[ClaimedRun]()
    if wanted.alone:
        limit = min(limit, _room(tables, wanted, moment))
    for run in _in_turn(sorted(_due(tables, wanted, moment), key=lambda run: run.row.available_at or moment), limit):
        if len(taken) == limit:
            break
        # A run's neighbour may have made it a suspect meanwhile.
        if run.row.available_at <= moment and (ended := _settle(tables, run, moment, lease_seconds)) != "suspects":
            taken.append(_lease(tables, run, owner, moment, lease_seconds, wanted, charged=ended == "charged"))
    return taken


def _in_turn(oldest: list[Run], limit: int) -> list[Run]:
    """Where the oldest run has waited, thousands may wake up at once: they get half of the places."""
    if not oldest or oldest[0].row.status != "waiting":
        return oldest
    half = half_of(limit)
    others = [run for run in oldest if run.row.status != "waiting"]
    return beside_woken(oldest, others[: min(half, limit)], limit, half)


def _due(tables: Tables, wanted: Wanted, moment: datetime) -> list[Run]:
    chosen = tables.runs.values() if wanted.saga_ids is None else map(tables.runs.get, wanted.saga_ids)
    return [
        run
        for run in chosen
        if run is not None
        and run.row.available_at is not None
        and run.row.available_at <= moment
        and run.row.saga_name in wanted.sagas
        and run.row.alone == wanted.alone
    ]


def any_alone(tables: Tables, sagas: Collection[str]) -> bool:
    return bool(_due(tables, Wanted(dict.fromkeys(sagas, ()), None, True), now()))


def _room(tables: Tables, wanted: Wanted, moment: datetime) -> int:
    """Return whether there is room for one more run that is executed alone."""
    able = sum(worker.kind == "worker" and bool(wanted.sagas.keys() & worker.sagas) for worker in tables.living())
    busy = [row for row in tables.rows() if row.alone and row.saga_name in wanted.sagas and _is_leased(row, moment)]
    return int(len(busy) < most_alone(able))


def _is_leased(row: RunRecord, moment: datetime) -> bool:
    return row.lease_expires_at is not None and row.lease_expires_at > moment


def _settle(tables: Tables, run: Run, moment: datetime, lease_seconds: float) -> str | None:
    """Settle a lease that ended without a release, and those of the same owner's that ended, too."""
    owner = run.row.lease_owner
    if owner is None:
        return None
    leased = [other for other in tables.runs.values() if other.row.lease_owner == owner]
    before = any(a.owner == owner and a.outcome == "died" for other in tables.runs.values() for a in other.attempts)
    ended = verdict(lives=any(w.name == owner for w in tables.living()), company=len(leased) > 1 or before)
    for one in [other for other in leased if not _is_leased(other.row, moment)] if ended == "suspects" else [run]:
        one.end_attempt("lost" if ended == "lost" else "died", None, one.row.lease_expires_at or moment)
        if ended == "suspects":
            suspicions, later = one.row.suspicions + 1, moment + timedelta(seconds=jitter(lease_seconds))
            one.change(
                **FREE, status=_waiting(one.row), available_at=later, suspicions=suspicions,
                alone=suspicions >= ALONE_FROM,
            )  # fmt: skip
    return ended


def _waiting(row: RunRecord) -> RunStatus:
    return "pending" if row.status == "executing" else row.status


def _lease(
    tables: Tables, run: Run, owner: str, moment: datetime, lease_seconds: float, wanted: Wanted, *, charged: bool
) -> ClaimedRun:
    expires, old = moment + timedelta(seconds=lease_seconds), run.row
    after_death = any(a.attempt == old.attempt and a.outcome in ("died", "lost") for a in run.attempts)
    run.change(
        status=executed_as(old.status, old.direction), attempt=old.attempt + 1,
        failures=old.failures + charged, lease_owner=owner, lease_expires_at=expires, available_at=expires,
        updated_at=moment, leased_at=moment,
    )  # fmt: skip
    row, its_waits = run.row, waits.settle(tables, run, moment)
    journal = tuple(run.steps.values())
    begun = begun_by_claim(row.saga_name, row.attempt, wanted.sagas)
    _begin(run, begun, moment)
    left = None if row.deadline is None else (row.deadline - moment).total_seconds()
    return ClaimedRun(
        row.saga_id, row.saga_name, row.status, row.context, row.error, row.correlation_id, row.attempt, row.failures,
        journal, tuple(step.name for step in begun), row.direction, row.version, row.suspicions, row.alone, after_death,
        its_waits, left,
    )  # fmt: skip


def _held(tables: Tables, saga_id: str, owner: str, attempt: int) -> Run | None:
    run = tables.runs.get(saga_id)
    return run if run is not None and (run.row.lease_owner, run.row.attempt) == (owner, attempt) else None


def renew(tables: Tables, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
    expires, held = now() + timedelta(seconds=lease_seconds), set()
    for saga_id, attempt in runs:
        if (run := _held(tables, saga_id, owner, attempt)) is not None:
            run.row = replace(run.row, lease_expires_at=expires, available_at=expires)
            held.add(saga_id)
    return Renewal(held, set())


def write(tables: Tables, writes: Sequence[RunWrite]) -> list[bool | None]:
    moment = now()
    return [_write(tables, one, moment) for one in writes]


def _write(tables: Tables, write: RunWrite, moment: datetime) -> bool:
    run = _held(tables, write.saga_id, write.owner, write.attempt)
    if run is None:
        return False
    for step in write.steps:
        run.enter(step, moment)
    _tell(tables, run.row, write.events)
    waits.record(tables, run, write, moment)
    error = run.row.error if write.error is None else write.error
    if write.status == "failed":
        run.end_attempt("failed", error, moment)
    run.change(error=error, updated_at=moment)
    if write.progress:
        run.row = replace(run.row, failures=0, suspicions=0, alone=False)
    if write.status is not None:
        back = "back" if write.status == "compensating" else run.row.direction
        run.row = replace(run.row, status=write.status, direction=back)
    if write.status in FINISHED:
        run.row = replace(run.row, **FREE, available_at=None, finished_at=moment)
    elif (release := write.release) is not None and release.waits:
        ends = (waits.due_at(tables, run, moment), run.row.deadline if release.by_deadline else None)
        run.row = replace(run.row, **FREE, status="waiting", available_at=waits.earliest(ends))
    elif release is not None:
        run.end_attempt(released(release), release.detail, moment)
        again, failures = moment + timedelta(seconds=release.delay), run.row.failures + release.failed
        run.row = replace(run.row, **FREE, status=_waiting(run.row), available_at=again, failures=failures)
    return True


def _tell(tables: Tables, row: RunRecord, events: Sequence[EventWrite]) -> None:
    for event in events:
        add(tables, of_run(row.saga_id, event, row.created_at))


def intervene(tables: Tables, change: Intervention) -> bool:
    run, moment = tables.runs.get(change.saga_id), now()
    if run is None or (run.row.attempt, run.row.status) != (change.attempt, change.found):
        return False
    row, ends = run.row, change.status in FINISHED
    if row.fingerprint == FOREIGN or change.version not in (None, row.version):
        return False
    if row.lease_owner is not None:
        run.end_attempt("decided", decision(change), moment)
    if change.turns_back:
        run.steps = {key: s for key, s in run.steps.items() if (s.phase, s.status) != ("undo", "failed")}
    waits.decide(run, change, ends=ends, moment=moment)
    _tell(tables, row, change.events)
    run.audit.append(
        AuditRecord(row.saga_id, change.action, change.actor, change.reason, change.found, change.status, moment)
    )
    turned = {"compensating": "back", "pending": "forward"}.get(change.status, row.direction)
    run.change(
        **FREE, status=change.status, attempt=row.attempt + 1, failures=0, suspicions=0, alone=False, direction=turned,
        error=row.error if change.error is None and change.action != "retry" else change.error, updated_at=moment,
        finished_at=moment if ends else None, deadline=None if change.action == "retry" else row.deadline,
        available_at=None if ends else max(moment, row.lease_expires_at or moment),
    )  # fmt: skip
    return True


def save_foreign(
    tables: Tables, saga_id: str, saga_name: str, status: Any, context: str, correlation_id: str | None
) -> bool:
    run, moment = tables.runs.get(saga_id), now()
    if run is None:
        new = NewRun(saga_id, saga_name, context, FOREIGN)
        run = tables.runs[saga_id] = Run(replace(_row(new, moment, 0), available_at=None))
    elif run.row.fingerprint != FOREIGN:
        return False
    run.row = replace(
        run.row, saga_name=saga_name, status=status, context=context, updated_at=moment,
        correlation_id=correlation_id or run.row.correlation_id, finished_at=moment if status in FINISHED else None,
    )  # fmt: skip
    return True


def heartbeat(
    tables: Tables, worker: str, seconds: float, kind: WorkerKind = "worker", sagas: Collection[str] = ()
) -> None:
    tables.workers[worker] = WorkerRecord(worker, kind, tuple(sorted(sagas)), now() + timedelta(seconds=seconds))
    tables.workers = {one.name: one for one in tables.living()}

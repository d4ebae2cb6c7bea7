"""Signals that runs wait for, or will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from file_store.tables import Run, Tables, now
from file_store.waits import due_at
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.records import ERASED, FINISHED
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord


def send(tables: Tables, signals: Sequence[NewSignal]) -> list[Sent]:
    moment = now()
    sent = [_send(tables, signal, moment) for signal in signals]
    for run in tables.runs.values():
        if run.row.status == "waiting" and due_at(tables, run, moment) == moment:
            run.row = replace(run.row, available_at=moment)
    return sent


def _send(tables: Tables, new: NewSignal, moment: datetime) -> Sent:
    if (known := tables.signals.get(new.id)) is not None:
        return Sent(False, known.fingerprint)
    run = tables.runs.get(new.saga_id or "")
    if run is not None and run.row.status in FINISHED:
        return Sent(False)
    if new.version is not None and (run is None or run.row.version != new.version):
        return Sent(False)
    run = run or _awaiting(tables, new)
    if run is not None and new.actor is not None:
        status = run.row.status
        run.audit.append(AuditRecord(run.row.saga_id, "signal", new.actor, new.reason, status, status, moment))
    tables.signals[new.id] = SignalRecord(
        new.id, new.name, new.saga_id, new.key, new.signal_id, new.payload, new.fingerprint, moment, None, None
    )
    return Sent(True, new.fingerprint)


def _awaiting(tables: Tables, new: NewSignal) -> Run | None:
    """Return the run that waits under the signal's key."""
    place = (new.name, new.key)
    runs = tables.runs.values()
    return next((run for run in runs if new.key and any((one.name, one.key) == place for one in run.waits)), None)


def find(tables: Tables, query: SignalFilter) -> list[SignalRecord]:
    def age(signal: SignalRecord) -> tuple[datetime, str]:
        return signal.created_at, signal.id

    found = [
        signal
        for signal in tables.signals.values()
        if query.state in (None, "untaken" if signal.taken_at is None else "taken")
        and query.name in (None, signal.name)
        and query.saga_id in (None, signal.saga_id, signal.taken_by)
        and (query.before is None or age(signal) < query.before)
    ]
    return sorted(found, key=age, reverse=True)[: query.limit]


def count_untaken(tables: Tables) -> int:
    return sum(signal.taken_at is None for signal in tables.signals.values())


def prune(tables: Tables, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    old = [
        signal.id
        for signal in tables.signals.values()
        if (
            signal.created_at < untaken_before and not _is_wanted(tables, signal)
            if signal.taken_at is None
            else signal.taken_at < taken_before
        )
    ][:limit]
    for one in old:
        del tables.signals[one]
    return len(old)


def _is_wanted(tables: Tables, signal: SignalRecord) -> bool:
    """Whether a run that has not ended, or one that waits under the signal's key, may yet take it."""
    run = tables.runs.get(signal.saga_id or "")
    awaited = ((wait.name, wait.key) for one in tables.runs.values() for wait in one.waits if wait.key is not None)
    return (run is not None and run.row.status not in FINISHED) or (signal.name, signal.key) in awaited


def erase(tables: Tables, saga_id: str) -> None:
    """Forget the signals to a run that has ended, and what those brought that it took."""
    for signal in list(tables.signals.values()):
        if signal.taken_by == saga_id:
            tables.signals[signal.id] = replace(signal, fingerprint=ERASED)
        elif signal.saga_id == saga_id and signal.taken_at is None:
            del tables.signals[signal.id]

"""What runs wait for: registered by their writes, and ended by their claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from file_store.tables import Run, Tables, now
from sagaz_durable.stores.refused_waits import refusal
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.records import RunWrite, StepWrite, resumed_by_claim
from sagaz_integration_core.contract.waits import SignalRecord, WaitRecord, WaitWrite


def load(tables: Tables, *saga_ids: str) -> list[WaitRecord]:
    return [wait for saga_id in saga_ids if saga_id in tables.runs for wait in tables.runs[saga_id].waits]


def record(tables: Tables, run: Run, write: RunWrite, moment: datetime) -> None:
    """Record what a write tells of waits."""
    left, missed = set(write.left_waits), set(write.missed_waits)
    run.waits = [
        wait
        for wait in run.waits
        if (wait.step, wait.phase) not in left
        and not (wait.is_missed and (wait.step, wait.phase) in missed)
        and not (write.stops_waiting and wait.outcome is None)
    ]
    for wait in write.waits:
        if _place(wait) not in map(_place, run.waits):
            run.waits.append(_registered(tables, run, wait, moment))


def _place(wait: WaitRecord | WaitWrite) -> tuple[str, str, str, int]:
    return wait.step, wait.phase, wait.name, wait.n


def _registered(tables: Tables, run: Run, wait: WaitWrite, moment: datetime) -> WaitRecord:
    until = wait.until if wait.seconds is None else moment + timedelta(seconds=wait.seconds)
    new = WaitRecord(run.row.saga_id, wait.step, wait.phase, wait.name, wait.n, wait.key, until, moment)
    if wait.key is not None:
        for other in (known for one in tables.runs.values() for known in one.waits):
            if (other.name, other.key) == (wait.name, wait.key):
                payload = refusal(other.saga_id)
                return replace(new, key=None, outcome="refused", attempt=run.row.attempt + 1, payload=payload)
    return new


def due_at(tables: Tables, run: Run, moment: datetime) -> datetime | None:
    """Return when a run that waits is due; None for not before a signal comes."""
    open_ = [wait for wait in run.waits if wait.outcome is None]
    if any((wait.attempt or 0) > run.row.attempt for wait in run.waits) or any(_signal(tables, w) for w in open_):
        return moment
    return earliest(wait.until for wait in open_)


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def _signal(tables: Tables, wait: WaitRecord) -> SignalRecord | None:
    for signal in tables.signals.values():
        to = signal.saga_id == wait.saga_id if signal.key is None else signal.key == wait.key
        if wait.name and to and signal.name == wait.name and signal.taken_at is None:
            return signal
    return None


def settle(tables: Tables, run: Run, moment: datetime) -> tuple[WaitRecord, ...]:
    """Give the waits of a run that has just been claimed, and that are over, their outcome; return all of them.

    Their calls go on.
    """
    served, attempt = set[str](), run.row.attempt
    for place, wait in enumerate(run.waits):
        if wait.outcome is not None:
            continue
        if (signal := _signal(tables, wait)) is not None:
            if wait.name in served:
                continue  # Its signal came in time: the next claim takes it.
            served.add(wait.name)
            payload = signal.payload
            taken = replace(signal, taken_by=run.row.saga_id, taken_step=wait.step, taken_phase=wait.phase)
            tables.signals[signal.id] = replace(taken, payload=None, taken_at=moment)
            run.waits[place] = replace(wait, key=None, outcome="signal", attempt=attempt, payload=payload)
        elif wait.until is not None and wait.until <= moment:
            run.waits[place] = replace(wait, key=None, outcome="timeout", attempt=attempt)
    for call in resumed_by_claim(run.waits, attempt, run.row.direction):
        if (entry := run.steps.get(call)) is not None and entry.status == "waiting":
            run.enter(StepWrite(*call, "started", compensated=entry.compensated), moment)
    return tuple(run.waits)


def decide(run: Run, change: Intervention, *, ends: bool, moment: datetime) -> None:
    """End the waits that a person's decision ends."""
    if change.status == "waiting":
        run.waits = [w if w.outcome or w.name else replace(w, until=moment) for w in run.waits]
    elif change.turns_back or ends:
        run.waits = [wait for wait in run.waits if wait.phase == "undo" and not ends]


def rouse_lost(tables: Tables, steps: Mapping[str, Collection[str]]) -> int:
    lost = [run for run in tables.runs.values() if _lost(run, steps)]
    for run in lost:
        run.row = replace(run.row, available_at=now())
    return len(lost)


def count_lost(tables: Tables, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    return dict(Counter((run.row.saga_name, step) for run in tables.runs.values() for step in _lost(run, steps)))


def count_signalled(_tables: Tables) -> dict[str, tuple[int, float]]:
    return {}  # Sending makes the runs due.


def _lost(run: Run, steps: Mapping[str, Collection[str]]) -> set[str]:
    """Return the steps in which a run waits, and which its saga has not."""
    if run.row.status != "waiting" or (known := steps.get(run.row.saga_name)) is None:
        return set()
    return {wait.step for wait in run.waits if wait.outcome is None and wait.step not in known}

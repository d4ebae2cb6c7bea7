"""What runs wait for, and the signals that they are sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = ["count_untaken", "find_signals", "load_waits", "prune_signals", "rouse_lost", "send"]


def send(rows: Rows, signals: Sequence[NewSignal]) -> list[Sent]:
    """Insert signals; an answer for each."""
    moment = datetime.now(UTC)
    return [rows.send(signal, moment) for signal in signals]


def load_waits(rows: Rows, saga_id: str) -> list[WaitRecord]:
    """Return the waits of a run."""
    return list(rows.waits.of_run(saga_id))


def rouse_lost(rows: Rows, steps: Mapping[str, Collection[str]]) -> int:
    """Make the runs of these sagas due that wait in a step which theirs has not."""
    moment = datetime.now(UTC)
    lost = [
        row
        for row in rows.runs.rows.values()
        if row.status == "waiting"
        and row.saga_name in steps
        and any(
            wait.outcome is None and wait.step not in steps[row.saga_name] for wait in rows.waits.of_run(row.saga_id)
        )
    ]
    for row in lost:
        rows.runs.put(replace(row, available_at=moment))
    return len(lost)


def find_signals(rows: Rows, query: SignalFilter) -> list[SignalRecord]:
    """Return signals, the newest first."""
    return rows.waits.find(query)


def count_untaken(rows: Rows) -> int:
    """Return how many signals nobody has taken."""
    return rows.waits.count_untaken()


def prune_signals(rows: Rows, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    """Delete old signals; return how many."""
    return rows.waits.prune(taken_before, untaken_before, limit)

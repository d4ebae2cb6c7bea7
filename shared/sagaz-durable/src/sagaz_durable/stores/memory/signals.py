"""What runs wait for, and the signals that they are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sagaz_durable.stores.memory.rows import Rows
from sagaz_integration_core.contract.records import FINISHED, RunRecord
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord, WaitRecord

__all__ = [
    "count_lost",
    "count_prunable_signals",
    "count_signalled",
    "count_untaken",
    "find_signals",
    "load_waits",
    "prune_signals",
    "rouse_lost",
    "send",
]


def send(rows: Rows, signals: Sequence[NewSignal]) -> list[Sent]:
    """Insert signals; an answer for each."""
    moment = datetime.now(UTC)
    return [rows.send(signal, moment) for signal in signals]


def load_waits(rows: Rows, *saga_ids: str) -> list[WaitRecord]:
    """Return the waits of these runs."""
    return [wait for saga_id in saga_ids for wait in rows.waits.of_run(saga_id)]


def rouse_lost(rows: Rows, steps: Mapping[str, Collection[str]]) -> int:
    """Make the runs of these sagas due that wait in a step which theirs has not."""
    moment = datetime.now(UTC)
    lost = {row.saga_id: row for row, _ in _lost(rows, steps)}
    for row in lost.values():
        rows.runs.put(replace(row, available_at=moment))
    return len(lost)


def count_lost(rows: Rows, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    """Return how many runs of these sagas wait in a step which theirs has not, by saga and step."""
    calls = {(row.saga_id, row.saga_name, wait.step) for row, wait in _lost(rows, steps)}
    return dict(Counter((saga, step) for _, saga, step in calls))


def count_signalled(_rows: Rows) -> dict[str, tuple[int, float]]:
    """Return no runs: here a signal makes the run due that waits for it, in the same moment."""
    return {}


def _lost(rows: Rows, steps: Mapping[str, Collection[str]]) -> Iterator[tuple[RunRecord, WaitRecord]]:
    for row in rows.runs.rows.values():
        if row.status == "waiting" and (known := steps.get(row.saga_name)) is not None:
            for wait in rows.waits.of_run(row.saga_id):
                if wait.outcome is None and wait.step not in known:
                    yield row, wait


def find_signals(rows: Rows, query: SignalFilter) -> list[SignalRecord]:
    """Return signals, the newest first."""
    return rows.waits.find(query)


def count_untaken(rows: Rows) -> int:
    """Return how many signals nobody has taken."""
    return rows.waits.count_untaken()


def prune_signals(rows: Rows, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    """Delete old signals; return how many."""
    old = _old(rows, taken_before, untaken_before)[:limit]
    for one in old:
        signal = rows.waits.signal(one)
        if signal is not None and signal.saga_id is not None and signal.saga_id not in rows.runs.rows:
            rows.runs.forget_notes(signal.saga_id)
    rows.waits.delete(old)
    return len(old)


def count_prunable_signals(rows: Rows, taken_before: datetime, untaken_before: datetime) -> int:
    """Return how many signals are old."""
    return len(_old(rows, taken_before, untaken_before))


def _old(rows: Rows, taken_before: datetime, untaken_before: datetime) -> list[str]:
    live = {row.saga_id for row in rows.runs.rows.values() if row.status not in FINISHED}
    return rows.waits.old(taken_before, untaken_before, live)

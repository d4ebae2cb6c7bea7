"""What runs wait for, and their signals, in dictionaries; called under the store's lock."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from sagaz_durable.stores.refused_waits import refusal
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.records import ERASED
from sagaz_integration_core.contract.statuses import Call, Phase
from sagaz_integration_core.contract.waits import (
    DECISIONS,
    NewSignal,
    SignalFilter,
    SignalRecord,
    WaitRecord,
    WaitWrite,
)

__all__ = ["Waits"]


class Waits:
    """All waits and signals of a store.

    Args:
        keep_taken: How many taken signals are remembered.
    """

    def __init__(self, keep_taken: int) -> None:
        self._keep_taken = keep_taken
        self._waits: dict[str, list[WaitRecord]] = {}
        self._awaiting: dict[tuple[str, str], str] = {}
        self._untaken: dict[str, SignalRecord] = {}
        self._taken: dict[str, SignalRecord] = {}
        self._notes: dict[str, AuditRecord] = {}
        self._notes_of_taken: dict[str, list[AuditRecord]] = {}

    def of_run(self, saga_id: str) -> tuple[WaitRecord, ...]:
        """Return the waits of a run, in the order in which they were registered."""
        return tuple(self._waits.get(saga_id, ()))

    def register(self, saga_id: str, wait: WaitWrite, attempt: int, moment: datetime) -> None:
        """Keep a wait; one that is there stays as it is."""
        waits = self._waits.setdefault(saga_id, [])
        if any(_place(known) == _place(wait) for known in waits):
            return
        until = wait.until if wait.seconds is None else moment + timedelta(seconds=wait.seconds)
        record = WaitRecord(saga_id, wait.step, wait.phase, wait.name, wait.n, wait.key, until, moment)
        if wait.key is not None:
            place = (wait.name, wait.key)
            if (first := self._awaiting.get(place)) is not None:
                record = replace(record, key=None, outcome="refused", attempt=attempt + 1, payload=refusal(first))
            else:
                self._awaiting[place] = saga_id
        waits.append(record)

    def leave(self, saga_id: str, call: Call, *, only_missed: bool = False) -> None:
        """Forget the waits of a call, or those of its signals that did not come."""
        kept = []
        for wait in self._waits.get(saga_id, ()):
            if (wait.step, wait.phase) == call and (wait.is_missed or not only_missed):
                self._free(wait)
            else:
                kept.append(wait)
        if kept:
            self._waits[saga_id] = kept
        else:
            self._waits.pop(saga_id, None)

    def forget(self, saga_id: str, *, but: Phase | None = None, only_open: bool = False) -> None:
        """Forget the waits of a run, but for those of this phase, or those that are open."""
        kept = []
        for wait in self._waits.pop(saga_id, ()):
            if wait.phase == but or (only_open and wait.outcome is not None):
                kept.append(wait)
            else:
                self._free(wait)
        if kept:
            self._waits[saga_id] = kept

    def erase(self, saga_id: str) -> None:
        """Forget what the signals of a run that has ended brought, and those to it that it did not take."""
        if (waits := self._waits.get(saga_id)) is not None:
            self._waits[saga_id] = [replace(wait, payload=None) for wait in waits]
        self._untaken = {its_id: one for its_id, one in self._untaken.items() if one.saga_id != saga_id}
        for its_id, one in self._taken.items():
            if one.taken_by == saga_id:
                self._taken[its_id] = replace(one, fingerprint=ERASED)

    def due_at(self, saga_id: str, attempt: int, moment: datetime) -> datetime | None:
        """Return when a run that waits after this attempt is due; None for not before a signal comes."""
        waits = self.of_run(saga_id)
        open_ = [wait for wait in waits if wait.outcome is None]
        if any((wait.attempt or 0) > attempt for wait in waits) or any(map(self._signal_of, open_)):
            return moment
        return min((wait.until for wait in open_ if wait.until is not None), default=None)

    def settle(self, saga_id: str, attempt: int, moment: datetime) -> tuple[WaitRecord, ...]:
        """Give the waits that are over their outcome, for the claim of this attempt; return all of the run."""
        served = set()
        for place, wait in enumerate(self.of_run(saga_id)):
            if wait.outcome is not None:
                continue
            signal = self._signal_of(wait)
            if signal is not None:
                # One of a name; others whose signal is there, too, have come to no end either: the next claim takes it.
                if wait.name not in served:
                    served.add(wait.name)
                    self._take(signal, wait, moment)
                    self._end(place, replace(wait, outcome="signal", attempt=attempt, payload=signal.payload))
            elif wait.until is not None and wait.until <= moment:
                self._end(place, replace(wait, outcome="timeout", attempt=attempt))
        return self.of_run(saga_id)

    def end_timers(self, saga_id: str, moment: datetime) -> None:
        """Have the sleeps of a run be over now."""
        for place, wait in enumerate(self.of_run(saga_id)):
            if wait.outcome is None and not wait.name:
                self._waits[saga_id][place] = replace(wait, until=moment)

    def add(self, signal: NewSignal, moment: datetime) -> str | None:
        """Keep a signal; return the saga_id of the run that may wait for it, by its key or as it is given."""
        self._untaken[signal.id] = SignalRecord(
            signal.id, signal.name, signal.saga_id, signal.key, signal.signal_id, signal.payload, signal.fingerprint,
            moment, None, None,
        )  # fmt: skip
        return signal.saga_id if signal.key is None else self._awaiting.get((signal.name, signal.key))

    def is_awaited(self, signal: NewSignal) -> bool:
        """Whether a run waits for this signal."""
        if signal.key is not None:
            return (signal.name, signal.key) in self._awaiting
        waits = self.of_run(signal.saga_id or "")
        return any(wait.name == signal.name and wait.outcome is None for wait in waits)

    def taken_by(self, saga_id: str) -> set[tuple[str, str]]:
        """Return name and signal_id of the signals that a run has taken."""
        return {(one.name, one.signal_id) for one in self._taken.values() if one.taken_by == saga_id}

    def note(self, its_id: str, note: AuditRecord) -> None:
        """Keep a person's note about a signal to a key that nobody waits under, for the run that takes it."""
        self._notes[its_id] = note

    def notes(self, saga_id: str) -> list[AuditRecord]:
        """Return such notes about signals that this run has taken."""
        return list(self._notes_of_taken.get(saga_id, ()))

    def forget_notes(self, saga_id: str) -> None:
        """Forget them."""
        self._notes_of_taken.pop(saga_id, None)

    def signal(self, its_id: str) -> SignalRecord | None:
        """Return a signal that was sent."""
        return self._untaken.get(its_id) or self._taken.get(its_id)

    def find(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        chosen = [signal for signal in self._chosen(query) if _matches(signal, query)]
        return sorted(chosen, key=_age, reverse=True)[: query.limit]

    def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        return len(self._untaken)

    def count_asking(self) -> int:
        """Return how many runs wait for a person's decision."""
        return sum(
            any(wait.outcome is None and wait.name.startswith(DECISIONS) for wait in waits)
            for waits in self._waits.values()
        )

    def old(self, taken_before: datetime, untaken_before: datetime, live: Container[str | None]) -> list[str]:
        """Return the ids of old signals, without those that a wait or a live run may yet take."""
        old = [one.id for one in self._taken.values() if one.taken_at is not None and one.taken_at < taken_before]
        unwanted = [one for one in self._untaken.values() if one.created_at < untaken_before]
        return old + [
            one.id for one in unwanted if one.saga_id not in live and (one.name, one.key) not in self._awaiting
        ]

    def delete(self, ids: Collection[str]) -> None:
        """Delete these signals."""
        for one in ids:
            self._taken.pop(one, None)
            self._untaken.pop(one, None)
            self._notes.pop(one, None)

    def _chosen(self, query: SignalFilter) -> Iterator[SignalRecord]:
        if query.state != "taken":
            yield from self._untaken.values()
        if query.state != "untaken":
            yield from self._taken.values()

    def _signal_of(self, wait: WaitRecord) -> SignalRecord | None:
        if not wait.name:
            return None
        return next((signal for signal in self._untaken.values() if _is_for(signal, wait)), None)

    def _take(self, signal: SignalRecord, wait: WaitRecord, moment: datetime) -> None:
        del self._untaken[signal.id]
        self._taken[signal.id] = replace(
            signal, payload=None, taken_at=moment, taken_by=wait.saga_id, taken_step=wait.step, taken_phase=wait.phase
        )
        if (note := self._notes.pop(signal.id, None)) is not None:
            self._notes_of_taken.setdefault(wait.saga_id, []).append(replace(note, saga_id=wait.saga_id))
        while len(self._taken) > self._keep_taken:
            del self._taken[next(iter(self._taken))]

    def _end(self, place: int, wait: WaitRecord) -> None:
        self._free(wait)
        self._waits[wait.saga_id][place] = replace(wait, key=None)

    def _free(self, wait: WaitRecord) -> None:
        """Let another run wait for this name and key."""
        if wait.key is not None:
            del self._awaiting[wait.name, wait.key]


def _place(wait: WaitRecord | WaitWrite) -> tuple[str, str, str, int]:
    return wait.step, wait.phase, wait.name, wait.n


def _is_for(signal: SignalRecord, wait: WaitRecord) -> bool:
    if signal.name != wait.name:
        return False
    return signal.saga_id == wait.saga_id if signal.key is None else signal.key == wait.key


def _matches(signal: SignalRecord, query: SignalFilter) -> bool:
    return (
        query.name in (None, signal.name)
        and query.saga_id in (None, signal.saga_id, signal.taken_by)
        and (query.before is None or _age(signal) < query.before)
    )


def _age(signal: SignalRecord) -> tuple[datetime, str]:
    return signal.created_at, signal.id

"""What became of each run of an insert: made, or there already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sagaz_integration_core.contract.records import Inserted, NewRun

__all__ = ["Insertion", "own_row_seconds"]


def own_row_seconds(elapsed: float, lease_seconds: float) -> float:
    """Return how old a row may be that an insert made which began ``elapsed`` seconds ago, and whose answer was lost.

    Half a lease allows for what the clocks and the network take. A run that this process gave up, and that has the same
    key, is older than that by then: it was given up near the end of its lease.
    """
    return elapsed + max(lease_seconds / 2, 1.0)


class Insertion:
    """Keeps account of an insert that skips what is there, and of the look-up of what it skipped.

    A row that is neither made nor found was deleted in between, and is inserted again.
    """

    def __init__(self, runs: Sequence[NewRun]) -> None:
        self._runs = runs
        self._first: dict[str, NewRun] = {}
        for run in runs:
            self._first.setdefault(run.saga_id, run)
        self._made: set[str] = set()
        self._recognised: set[str] = set()
        self._found: dict[str, Sequence[Any]] = {}

    @property
    def taken(self) -> list[str]:
        """The ids that were neither made nor found yet."""
        return [saga_id for saga_id in self._first if saga_id not in self._made and saga_id not in self._found]

    @property
    def missing(self) -> list[NewRun]:
        """The runs of these ids; where an id is given twice, the first one is inserted."""
        return [self._first[saga_id] for saga_id in self.taken]

    def made(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take what the insert returned: rows that begin with the saga_id."""
        self._made.update(row[0] for row in rows)

    def recognised(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take those that the insert has made without an answer: rows that begin with the saga_id."""
        self._recognised.update(row[0] for row in rows)
        self._made |= self._recognised

    def found(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take what the look-up returned: saga_id, fingerprint and owner."""
        self._found.update((row[0], row[1:]) for row in rows)

    def answers(self) -> list[Inserted]:
        """Return an answer for each run, in their order; of those with one id, the first is the one that was made."""
        fresh = set(self._made)
        answers = []
        for run in self._runs:
            first = self._first[run.saga_id]
            fingerprint, owner = self._found.get(run.saga_id) or (first.fingerprint, first.owner)
            made = run.saga_id in fresh
            answers.append(Inserted(run.saga_id, made, fingerprint, made and run.saga_id in self._recognised, owner))
            fresh.discard(run.saga_id)
        return answers

"""Runs come in, stay claimed as long as their lease is renewed, and are written by whoever holds them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sagaz_durable.stores.memory import mutations as changes
from sagaz_durable.stores.memory.claims import Claim
from sagaz_durable.stores.memory.rows import Rows
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_integration_core.contract.records import ClaimedRun, Inserted, NewRun, Renewal, RunWrite

__all__ = ["any_alone", "claim", "insert", "renew", "write"]


def insert(rows: Rows, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there."""
    moment = datetime.now(UTC)
    return [rows.insert(run, moment, lease_seconds) for run in runs]


def claim(rows: Rows, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    moment = datetime.now(UTC)
    claim = Claim(rows.runs, rows.living(moment), moment, lease_seconds, wanted.sagas)
    return claim.take(owner, limit, wanted.saga_ids, alone=wanted.alone)


def any_alone(rows: Rows, sagas: Collection[str]) -> bool:
    """Whether a run is due that is to be executed alone."""
    return rows.runs.next_due(datetime.now(UTC), sagas, alone=True) is not None


def renew(rows: Rows, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
    """Prolong leases."""
    moment = datetime.now(UTC)
    found = [rows.held(saga_id, owner, attempt) for saga_id, attempt in runs]
    held = [row for row in found if row is not None]
    for row in held:
        rows.runs.put(changes.prolonged(row, moment, lease_seconds))
    return Renewal({row.saga_id for row in held}, set())


def write(rows: Rows, writes: Sequence[RunWrite]) -> list[bool | None]:
    """Record the writes in order; False for each whose run is not its owner's any more."""
    moment = datetime.now(UTC)
    return [rows.write(write, moment) for write in writes]

"""Runs come in, are claimed, and stay claimed as long as their lease is renewed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sagaz_integration_core.records import ClaimedRun, FirstSteps, Inserted, NewRun, StepRecord
from sagaz_integration_core.stores._postgresql.database import Database, Row
from sagaz_integration_core.stores._postgresql.rows import claimed_run, insertion, step_record
from sagaz_integration_core.stores._postgresql.sql import (
    CLAIM,
    CLAIM_OF,
    FIND_FINGERPRINTS,
    RENEW,
    STEPS_OF,
)
from sagaz_integration_core.stores.inserts import Insertion

__all__ = ["claim", "insert", "renew"]


async def insert(db: Database, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there.

    When the connection breaks, the statement is tried again: what the lost one may have committed has the same ids,
    and is then found to be there.
    """
    account = Insertion(runs)
    with db.in_use():
        while missing := account.missing:
            account.made(await db.execute(*insertion(missing, lease_seconds)))
            if taken := account.taken:
                account.found(await db.execute(FIND_FINGERPRINTS, [taken]))
    return account.answers()


async def claim(
    db: Database,
    owner: str,
    limit: int,
    lease_seconds: float,
    saga_ids: Sequence[str] | None,
    first_steps: FirstSteps,
) -> list[ClaimedRun]:
    """Lease due runs to ``owner``, the oldest first."""
    values: dict[str, Any] = {
        "owner": owner,
        "limit": limit,
        "seconds": lease_seconds,
        "first_steps": json.dumps(first_steps, ensure_ascii=False),
    }
    statement = CLAIM
    if saga_ids is not None:
        statement, values["saga_ids"] = CLAIM_OF, list(saga_ids)
    with db.in_use():
        rows = await db.execute(statement, values)
        journals = await _journals(db, rows)
    return [claimed_run(row, journals.get(row[0], ()), first_steps) for row in rows]


async def _journals(db: Database, rows: Iterable[Row]) -> dict[str, list[StepRecord]]:
    """Read the journals of the runs that were claimed before: from now on, nobody else adds to them."""
    again = [row[0] for row in rows if row[6] > 1]
    journals: dict[str, list[StepRecord]] = defaultdict(list)
    if again:
        for row in await db.execute(STEPS_OF, [again]):
            journals[row[0]].append(step_record(row))
    return journals


async def renew(db: Database, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> set[str]:
    """Prolong leases; return the saga_ids of those that are still held."""
    # In the order of the ids, as a batch of writes locks them, lest the two wait for each other.
    ordered = sorted(runs)
    values = {
        "owner": owner,
        "saga_ids": [saga_id for saga_id, _ in ordered],
        "attempts": [attempt for _, attempt in ordered],
        "seconds": lease_seconds,
    }
    return {row[0] for row in await db.fetch(RENEW, values)}

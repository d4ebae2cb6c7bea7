"""Runs come in, and stay claimed as long as their lease is renewed."""

from __future__ import annotations

from collections.abc import Sequence

from sagaz_durable.stores.postgresql.ambiguous_inserts import Insert
from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.sql import FIND_FINGERPRINTS, RENEW
from sagaz_durable.transactions.insertion import Insertion
from sagaz_integration_core.contract.records import Inserted, NewRun, Renewal

__all__ = ["insert", "renew"]


async def insert(db: Database, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
    """Insert runs; one whose saga_id is taken is answered with the fingerprint that is there.

    When the connection breaks, the statement is tried again, and what the lost one has committed is recognised.
    """
    account, insert = Insertion(runs), Insert(db, lease_seconds)
    with db.in_use():
        while missing := account.missing:
            account.made(await insert.make(missing))
            account.recognised(await insert.recognise(account.missing))
            if taken := account.taken:
                account.found(await db.execute(FIND_FINGERPRINTS, [taken]))
    return account.answers()


async def renew(db: Database, owner: str, runs: Sequence[tuple[str, int]], lease_seconds: float) -> Renewal:
    """Prolong leases."""
    values = {
        "owner": owner,
        "saga_ids": [saga_id for saga_id, _ in runs],
        "attempts": [attempt for _, attempt in runs],
        "seconds": lease_seconds,
    }
    rows = await db.fetch(RENEW, values)
    held = {saga_id for saga_id, found in rows if found}
    return Renewal(held, {saga_id for saga_id, _ in rows} - held)

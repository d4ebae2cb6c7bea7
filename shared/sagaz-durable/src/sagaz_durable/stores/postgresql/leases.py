"""Runs come in, are claimed, and stay so as long as their lease is renewed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sagaz_durable.stores.postgresql.ambiguous_inserts import Insert
from sagaz_durable.stores.postgresql.claims import CLAIM, NEW, SETTLE, SIGNALLED, claim_statement
from sagaz_durable.stores.postgresql.database.statements import Database, Row
from sagaz_durable.stores.postgresql.reads import read_journals
from sagaz_durable.stores.postgresql.rows import claimed_run, journal_in
from sagaz_durable.stores.postgresql.signals import DELIVER
from sagaz_durable.stores.postgresql.sql import FIND_FINGERPRINTS, RENEW
from sagaz_durable.stores.wanted_runs import Wanted, half_of
from sagaz_durable.transactions.insertion import Insertion
from sagaz_integration_core.contract.records import ClaimedRun, FirstSteps, Inserted, NewRun, Renewal
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import SagazError

__all__ = ["Claims", "insert", "renew"]

logger = logging.getLogger(__name__)


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


class Claims:
    """Leases due runs, in one statement where that can be told before.

    Args:
        db: The store's database.
        claim_again: Has whoever claims do it again soon.
    """

    def __init__(self, db: Database, claim_again: Callable[[], None]) -> None:
        self._db = db
        self._claim_again = claim_again
        self._signalled = self._any = self._others = False
        self._sagas: FirstSteps = {}
        self._of_sagas: dict[str, str] = {}

    def expect_signalled(self) -> None:
        """Let the next claim look at once for runs that wait for a signal: one was sent."""
        self._signalled = True

    def expect_any(self) -> None:
        """Let the next claim look for all that is due: a commit made some of it so."""
        self._any = True

    async def claim(self, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
        """Lease due runs to ``owner``, the oldest first."""
        limit = min(limit, 1) if wanted.alone else limit
        values: dict[str, Any] = {
            "owner": owner,
            "limit": limit,
            "half": half_of(limit),
            "seconds": lease_seconds,
            **self._values_of(wanted.sagas),
        }
        if wanted.saga_ids is not None:
            values["saga_ids"] = list(wanted.saga_ids)
        if not wanted.sagas:
            self._db.check()
            return []
        rows: list[Row] = []
        with self._db.in_use():
            try:
                await self._take(rows, wanted, values)
            except SagazError as error:
                if not rows:
                    raise
                # What has been claimed is this process's by now.
                logger.warning("What else is due waits for the next claim: %s", error_text(error))
            journals = {row[0]: journal_in(row[0], row[14]) for row in rows if row[14] is not None}
            if changed := [row[0] for row in rows if row[6] > 1 and row[0] not in journals]:
                journals |= await read_journals(self._db, changed)
        return [claimed_run(row, journals.get(row[0], ([], [])), wanted.sagas) for row in rows]

    def _values_of(self, sagas: FirstSteps) -> dict[str, str]:
        """Return the values that are the same for each claim of these sagas."""
        if not self._of_sagas or sagas != self._sagas:
            self._sagas = dict(sagas)
            self._of_sagas = {"names": _array(sagas), "first_steps": json.dumps(sagas, ensure_ascii=False)}
        return self._of_sagas

    async def _take(self, claimed: list[Row], wanted: Wanted, values: dict[str, Any]) -> None:
        if wanted.alone or wanted.saga_ids is not None:
            await self._take_any(claimed, wanted, values)
            return
        only_signalled = self._signalled and not (self._any or self._others)
        self._others = self._others or self._signalled
        self._signalled = self._any = False
        if only_signalled:
            await self._execute(SIGNALLED, values, claimed)
            if 0 < len(claimed) < values["half"]:
                # They need not wait for the search for what else is due, nor, as soon as they are there, compete with
                # it for the processors.
                self._claim_again()
                return
        if not self._others:
            self._others, *_ = await self._execute(NEW, values, claimed)
        if self._others:
            self._others = await self._take_any(claimed, wanted, values)

    async def _take_any(self, claimed: list[Row], wanted: Wanted, values: dict[str, Any]) -> bool:
        """Claim new runs and others, mostly in one statement; return whether the next claim may meet others, too.

        Once more where many signals came at once, where leases have ended, and where all that was found were suspects.
        """
        claim, settle = claim_statement(CLAIM, wanted), claim_statement(SETTLE, wanted)
        ended, crowded, signals = await self._execute(claim, values, claimed)
        if crowded:
            await self._deliver()
            ended, *_ = await self._execute(claim, values, claimed)
        while ended:
            ended, *_ = await self._execute(settle, values, claimed)
        return signals or any(row[6] > 1 for row in claimed)

    async def _deliver(self) -> None:
        try:
            await self._db.execute(DELIVER)
        except SagazError as error:
            logger.warning("Signals wait until they are looked for again: %s", error_text(error))

    async def _execute(self, statement: str, values: dict[str, Any], claimed: list[Row]) -> Sequence[bool]:
        """Claim as many as there is room for, and add them to what is claimed; return what the statement tells."""
        room = values["limit"] - len(claimed)
        if room <= 0:
            return False, False, True
        if claimed:
            values = {**values, "limit": room, "half": half_of(room)}
        rows = await self._db.execute(statement, values)
        claimed += [row for row in rows if row[0] is not None]
        return rows[0][15:] if rows else ()


def _array(texts: Iterable[str]) -> str:
    """Return PostgreSQL's text of an array."""
    quoted = (text.replace("\\", r"\\").replace('"', r"\"") for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"

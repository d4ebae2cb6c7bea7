"""Inserts whose connection broke before the answer came: which rows are nevertheless of their making."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from sagaz_durable.stores.postgresql.database.errors import ConnectionLost
from sagaz_durable.stores.postgresql.database.statements import Database, Row
from sagaz_durable.stores.postgresql.rows import insertion
from sagaz_durable.transactions.insertion import own_row_seconds
from sagaz_integration_core.contract.records import NewRun

__all__ = ["Insert"]

# A row is one's own if it is as it was to be made, and not older than the first try. The lease's owner is this very
# process; whether another call of it made the row, the caller knows.
_OWN = """
SELECT run.saga_id
FROM json_to_recordset(%s::text::json) AS given
    (saga_id text, lease_owner text, owner text, fingerprint text)
JOIN {schema}.sagaz_run AS run ON run.saga_id = given.saga_id
WHERE run.fingerprint = given.fingerprint AND run.lease_owner IS NOT DISTINCT FROM given.lease_owner
    AND run.owner IS NOT DISTINCT FROM given.owner
    AND run.attempt = (given.lease_owner IS NOT NULL)::integer
    AND run.created_at > statement_timestamp() - %s * interval '1 second'
"""


class Insert:
    """One insert, with the tries that it takes."""

    def __init__(self, db: Database, lease_seconds: float) -> None:
        self._db = db
        self._lease_seconds = lease_seconds
        self._began_at = time.monotonic()
        self._lost = False

    async def make(self, runs: Sequence[NewRun]) -> list[Row]:
        """Insert runs, and return rows that begin with the saga_ids of those that were made."""
        statement, values = insertion(runs, self._lease_seconds)
        try:
            return await self._db.execute_once(statement, values)
        except ConnectionLost:
            self._lost = True
            await self._db.mend()
            return await self._db.execute_once(statement, values)

    async def recognise(self, runs: Sequence[NewRun]) -> list[Row]:
        """Return rows with the saga_ids of those that a lost try has made."""
        if not self._lost or not runs:
            return []
        names = ("saga_id", "lease_owner", "owner", "fingerprint")
        given = [{name: getattr(run, name) for name in names} for run in runs]
        seconds = own_row_seconds(time.monotonic() - self._began_at, self._lease_seconds)
        return await self._db.execute(_OWN, (json.dumps(given, ensure_ascii=False), seconds))

"""How rows are inserted through a caller's own connection to the same PostgreSQL database."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_durable.stores.postgresql.journal import recording
from sagaz_durable.stores.postgresql.outbox import INSERT_EVENTS, event_values
from sagaz_durable.stores.postgresql.request_keys import ANSWER, CLAIM, FIND, claim_values
from sagaz_durable.stores.postgresql.rows import insertion
from sagaz_durable.stores.postgresql.signals import FIND_SENT, NOTE, SEND, signal_values
from sagaz_durable.stores.postgresql.sql import FIND_FINGERPRINTS
from sagaz_durable.transactions.statements import Joining, Rows, Statement
from sagaz_integration_core.contract.events import NewEvent
from sagaz_integration_core.contract.records import NewRun, RunWrite

__all__ = ["joining"]


def joining(db: Database, shown: str, store_id: str) -> Joining:
    """Return the statements of an open store, for any driver: all values are texts, or one list of texts."""
    lookup = db.text(FIND_FINGERPRINTS)

    def insert(runs: Sequence[NewRun]) -> Statement:
        template, values = insertion(runs, 0, once=True)
        return Statement(db.text(template), values)

    def find(saga_ids: Sequence[str]) -> Statement:
        return Statement(lookup, (list(saga_ids),))

    def publish(events: Sequence[NewEvent]) -> Statement:
        return Statement(db.text(INSERT_EVENTS), (event_values(events),))

    def record(write: RunWrite) -> Generator[Statement, Rows, bool | None]:
        template, values = recording(write)
        rows = yield Statement(db.text(template), values)
        return rows[0][1] if rows else False

    return Joining(
        database="postgresql",
        shown=shown,
        store_id=store_id,
        # A missing table is asked for first: an error would end the caller's transaction.
        probe=Statement("SELECT 1 WHERE to_regclass(%s::text) IS NOT NULL", (db.text("{schema}.sagaz_meta"),)),
        identify=Statement(db.text("SELECT value FROM {schema}.sagaz_meta WHERE key = 'store_id'")),
        insert=insert,
        find=find,
        publish=publish,
        send=lambda signals: Statement(db.text(SEND), (signal_values(signals),)),
        note=lambda signals: Statement(db.text(NOTE), (signal_values(signals),)),
        find_signals=lambda ids: Statement(db.text(FIND_SENT), (list(ids),)),
        claim_key=lambda key: Statement(db.text(CLAIM), claim_values(key)),
        find_key=lambda one: Statement(db.text(FIND), (one,)),
        answer_key=lambda one, answer: Statement(db.text(ANSWER), (answer, one, None)),
        record=record,
    )

"""How rows are inserted through a caller's own connection to the same SQLite file."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence

from sagaz_durable.stores.sqlite.journal import parameters
from sagaz_durable.stores.sqlite.outbox import INSERT_EVENT
from sagaz_durable.stores.sqlite.request_keys import ANSWER, CLAIM, FIND, claim_values, find_values
from sagaz_durable.stores.sqlite.rows import deadline_of, now, stamp, step_row
from sagaz_durable.stores.sqlite.signals import NOTE, SEND, note_values, signal_values
from sagaz_durable.stores.sqlite.sql import SET_STATUS, UPSERT_STEP
from sagaz_durable.transactions.statements import Joining, Rows, Statement
from sagaz_integration_core.contract.events import NewEvent, of_run
from sagaz_integration_core.contract.records import NewRun, RunWrite

__all__ = ["joining"]

# Each begins with INSERT, for by that word sqlite3 knows that a transaction is to begin. One run has a
# statement of its own: reading it out of JSON takes as long again as inserting it.
_INSERT_ONE = """INSERT INTO sagaz_run
    (saga_id, saga_name, status, context, correlation_id, attempt, failures, available_at, created_at, updated_at,
     fingerprint, deadline, owner)
VALUES (%s, %s, 'pending', %s, %s, 0, 0, %s, %s, %s, %s, %s, %s)
ON CONFLICT (saga_id) DO NOTHING
RETURNING saga_id"""

# All runs are in one value, so that their number has no limit. ``WHERE true`` keeps SQLite from taking ON CONFLICT for
# a join.
_INSERT_MANY = """INSERT INTO sagaz_run
    (saga_id, saga_name, status, context, correlation_id, attempt, failures, available_at, created_at, updated_at,
     fingerprint, deadline, owner)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), 'pending', json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), 0, 0, json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
    json_extract(value, '$[9]')
FROM json_each(%s) WHERE true
ON CONFLICT (saga_id) DO NOTHING
RETURNING saga_id"""

_PUBLISH = """INSERT INTO sagaz_outbox (event_id, saga_id, topic, payload, headers, status, available_at, created_at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), 'pending', json_extract(value, '$[5]'),
    json_extract(value, '$[5]')
FROM json_each(%s) WHERE true ORDER BY key
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id"""

_FIND_SIGNALS = "SELECT id, fingerprint FROM sagaz_signal WHERE id IN (SELECT value FROM json_each(%s))"
_FIND = "SELECT saga_id, fingerprint, owner FROM sagaz_run WHERE saga_id IN (SELECT value FROM json_each(%s))"

LOCK = "UPDATE sagaz_meta SET value = value WHERE false"
"""Changes nothing: that it could is what takes the write lock, before anything is read."""

_FENCE = re.sub(r":(\w+)", "%s", f"{SET_STATUS} RETURNING created_at")
_FENCE_NAMES = re.findall(r":(\w+)", SET_STATUS)
_UPSERT_STEP = UPSERT_STEP.replace("?", "%s")
_INSERT_EVENT = INSERT_EVENT.replace("?", "%s")


def joining(path: str, store_id: str) -> Joining:
    """Return the statements of the store in this file."""
    return Joining(
        database="sqlite",
        shown=f"sqlite:///{path}",
        store_id=store_id,
        probe=Statement("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sagaz_meta'"),
        identify=Statement("SELECT value FROM sagaz_meta WHERE key = 'store_id'"),
        insert=_insert,
        find=lambda saga_ids: Statement(_FIND, (json.dumps(list(saga_ids)),)),
        publish=_publish,
        send=lambda signals: Statement(SEND, signal_values(signals)),
        note=lambda signals: Statement(NOTE, note_values(signals)),
        find_signals=lambda ids: Statement(_FIND_SIGNALS, (json.dumps(list(ids)),)),
        claim_key=lambda key: Statement(CLAIM, claim_values(key)),
        find_key=lambda one: Statement(FIND, find_values(one)),
        answer_key=lambda one, answer: Statement(ANSWER, (answer, one, None)),
        record=_record,
        lock=Statement(LOCK),
    )


def _insert(runs: Sequence[NewRun]) -> Statement:
    moment = now()
    stamped = stamp(moment)
    rows = [
        (
            run.saga_id,
            run.saga_name,
            run.context,
            run.correlation_id,
            stamped if run.not_before is None else stamp(run.not_before),
            stamped,
            stamped,
            run.fingerprint,
            deadline_of(run, moment),
            run.owner,
        )
        for run in runs
    ]
    if len(rows) == 1:
        return Statement(_INSERT_ONE, rows[0])
    return Statement(_INSERT_MANY, (json.dumps(rows),))


def _publish(events: Sequence[NewEvent]) -> Statement:
    stamped = stamp(now())
    rows = [[event.event_id, event.key, event.topic, event.payload, event.headers, stamped] for event in events]
    return Statement(_PUBLISH, (json.dumps(rows),))


def _record(write: RunWrite) -> Generator[Statement, Rows, bool | None]:
    moment = now()
    stamped = stamp(moment)
    given = parameters(write, moment, stamped)
    if not (rows := (yield Statement(_FENCE, tuple(given[name] for name in _FENCE_NAMES)))):
        return False
    for step in write.steps:
        yield Statement(_UPSERT_STEP, step_row(write, step, stamped))
    for made in (of_run(write.saga_id, event, rows[0][0]) for event in write.events):
        values = (made.event_id, write.saga_id, made.topic, made.payload, made.headers, stamped, stamped)
        yield Statement(_INSERT_EVENT, values)
    return True

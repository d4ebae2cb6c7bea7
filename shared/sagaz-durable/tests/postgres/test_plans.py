"""PostgreSQL reads by an index, and by its condition, whatever the tables had when a statement was planned."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from sagaz_durable.stores.postgresql import (
    ambiguous_inserts,
    claims,
    interventions,
    journal,
    maintenance,
    outbox,
    reads,
    signals,
    sql,
)
from sagaz_durable.stores.postgresql.database.numbered import _numbered
from sagaz_integration_core.contract.listings import RunFilter

pytestmark = pytest.mark.anyio

FROM_MANY = {"sagaz_worker"}
"""Tables that have few rows, however much there is to do."""

STATEMENTS = {
    **{f"claim {kind}": text for kind, text in zip(("oldest", "oldest alone", "named", "named alone"), [
        claims._STATEMENTS[claims.CLAIM, oldest, alone] for oldest in (True, False) for alone in (False, True)
    ], strict=True)},
    **{f"settle {kind}": text for kind, text in zip(("oldest", "oldest alone", "named", "named alone"), [
        claims._STATEMENTS[claims.SETTLE, oldest, alone] for oldest in (True, False) for alone in (False, True)
    ], strict=True)},
    "claim new": claims.NEW,
    **{f"write {kind}": text for kind, text in sql.WRITE.items()},
    "any alone": reads._ANY_ALONE,
    "locked": journal._LOCKED,
    "renew": sql.RENEW,
    "settled": sql.SETTLED,
    "steps": sql.STEPS_OF,
    "steps and waits": sql.STEPS_AND_WAITS_OF,
    "insert": sql.INSERT_ONE,
    "insert many": sql.INSERT_MANY,
    "any due": sql.ANY_DUE,
    "send": signals.SEND,
    "send noted": signals._SEND_NOTED,
    "find sent": signals.FIND_SENT,
    "heartbeat": maintenance._HEARTBEAT,
    "deliver": signals.DELIVER,
    "insert events": outbox.INSERT_EVENTS,
    "events due": outbox._DUE,
    "events settled": outbox._SETTLE,
    "intervene": interventions._INTERVENE,
    "own insert": ambiguous_inserts._OWN,
    "attempts": reads._ATTEMPTS,
    "waits": reads._WAITS,
}  # fmt: skip


def scans(plan):
    """Each node of a plan that reads a table."""
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


def read_whole(plan):
    """The tables, or indexes of them, of which a plan reads all."""
    for scan in scans(plan):
        named = scan.get("Index Cond") or scan["Node Type"] == "Bitmap Heap Scan"
        if not named and scan["Relation Name"] not in FROM_MANY:
            yield f"{scan['Relation Name']} by {scan.get('Index Name')}: {scan.get('Filter')}"


async def planned(store, template):
    """The plan that one of our sessions makes of a statement and keeps."""
    text = _numbered(store.database.text(template)).text.decode()
    count = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    async with store.database._pool.connection() as connection:
        await connection.execute(f"PREPARE planned AS {text}".encode())
        explained = await connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE planned{values}".encode())
        [(plan,)] = await explained.fetchall()
        await connection.execute("DEALLOCATE planned")
    return plan[0]["Plan"]


FILLED = """
INSERT INTO {schema}.sagaz_run (saga_id, saga_name, status, context, attempt, failures, available_at, created_at,
    updated_at, fingerprint)
SELECT 'r' || n, 'OrderSaga', 'waiting', '{}', 1, 0, now() + interval '1 day', now(), now(), 'f'
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO {schema}.sagaz_step (saga_id, step, phase, status, attempt, started_at, compensated)
SELECT 'r' || n, 'a', 'do', 'waiting', 1, now(), false FROM generate_series(1, %(rows)s) AS n;
INSERT INTO {schema}.sagaz_wait (saga_id, step, phase, name, n, key, created_at)
SELECT 'r' || n, 'a', 'do', 'paid', 0, 'k' || n, now() FROM generate_series(1, %(rows)s) AS n;
INSERT INTO {schema}.sagaz_signal (id, name, key, signal_id, fingerprint, created_at, seen_at)
SELECT 's' || n, 'shipped', 'k' || n, '', 'f', now(), now() FROM generate_series(1, %(rows)s) AS n;
ANALYZE {schema}.sagaz_run, {schema}.sagaz_step, {schema}.sagaz_wait, {schema}.sagaz_signal, {schema}.sagaz_attempt,
    {schema}.sagaz_outbox, {schema}.sagaz_audit
"""


@pytest.mark.parametrize("rows", [None, 0, 3, 2_000])
async def test_no_statement_reads_a_table_whole(store, rows):
    if rows is not None:
        async with store.database._pool.connection() as connection:
            for part in store.database.text(FILLED).replace("%(rows)s", str(rows)).split(";"):
                await connection.execute(part.encode())
    found = {name: list(read_whole(await planned(store, text))) for name, text in STATEMENTS.items()}
    assert {name: reads for name, reads in found.items() if reads} == {}


class Asked:
    """A database that only notes what it is asked."""

    async def fetch(self, template, values):
        self.template, self.values = template, values
        return []


OF_A_BIG_OWNER = """
INSERT INTO {schema}.sagaz_run (saga_id, saga_name, status, context, attempt, failures, created_at, updated_at,
    fingerprint, owner)
SELECT 'r' || n, 'O', CASE WHEN n > 4000 THEN 'failed' ELSE 'completed' END, '{}', 1, 0,
    now() - n * interval '1 second', now(), 'f', CASE WHEN n > 4000 THEN 'other' ELSE 'user:42' END
FROM generate_series(1, 5000) AS n;
ANALYZE {schema}.sagaz_run
"""


@pytest.mark.parametrize("rows", [0, 5_000])
@pytest.mark.parametrize("before", [None, (datetime(2026, 1, 1, tzinfo=UTC), "x")], ids=["first", "later"])
@pytest.mark.parametrize("statuses", [(), ("failed",), ("failed", "waiting")], ids=["all", "one", "two"])
async def test_of_an_owners_runs_no_more_are_looked_at_than_are_listed(store, statuses, before, rows):
    if rows:
        async with store.database._pool.connection() as connection:
            for part in store.database.text(OF_A_BIG_OWNER).split(";"):
                await connection.execute(part.encode())
    asked = Asked()
    await reads.find(asked, RunFilter(owner="user:42", statuses=statuses, before=before))
    plan = await planned(store, asked.template)
    [listed] = [scan for scan in scans(plan) if "owner" in scan.get("Index Cond", "")]
    assert listed["Index Name"] == "sagaz_run_owner"
    assert "status" in listed["Index Cond"]
    sorts = [node for node in nodes(plan) if node["Node Type"] == "Sort"]
    assert [sort["Parent Relationship"] for sort in sorts] == ["Outer"], "only what was found is sorted"
    assert sorts[0] in plan["Plans"]


def nodes(plan):
    """A plan and all its parts."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)

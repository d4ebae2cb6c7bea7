"""A million runs on PostgreSQL: a page asks a handful of questions, and each of them reads a bounded number of rows."""

from __future__ import annotations

import pytest
from admin_places import EVENTS, RUNS, SIGNALS, kept_in
from django.db import connections
from django.test.utils import CaptureQueriesContext
from plans import rows_read

from django_sagaz.admin.changelist import SCANNED

RUNS_THERE, EVENTS_THERE, SIGNALS_THERE = 1_000_000, 200_000, 200_000

# Every 500th failed, the newest and the oldest did not; four in a million are of a rare saga, and ten events are dead.
# Ten signals were not taken.
FILL = {
    "sagaz_run": f"""
        INSERT INTO sagaz_run (saga_id, saga_name, status, context, correlation_id, attempt, failures, created_at,
                               updated_at, finished_at, fingerprint)
        SELECT md5(n::text), CASE WHEN n % 250000 = 1000 THEN 'rare' ELSE 'order' END,
               CASE WHEN n % 500 = 250 THEN 'failed' ELSE 'completed' END, '{{"amount": 1}}', 'request-' || n, 1, 0,
               t, t, t, 'f'
        FROM generate_series(1, {RUNS_THERE}) AS n,
             LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 second' AS t) AS at""",
    "sagaz_outbox": f"""
        INSERT INTO sagaz_outbox (event_id, saga_id, topic, payload, headers, status, attempts, created_at)
        SELECT 'event-' || n, md5(n::text), 'saga.order', '{{"amount": 1}}', '{{}}',
               CASE WHEN n % 20000 = 9 THEN 'dead' ELSE 'sent' END, 0, timestamptz '2026-01-01Z'
        FROM generate_series(1, {EVENTS_THERE}) AS n""",
    "sagaz_signal": f"""
        INSERT INTO sagaz_signal (id, name, saga_id, key, signal_id, payload, fingerprint, created_at, taken_at,
                                  taken_by)
        SELECT 'signal-' || n, 'paid', CASE WHEN n % 2 = 0 THEN md5(n::text) END,
               CASE WHEN n % 2 = 1 THEN 'pi_' || n END, '', CASE WHEN taken IS NULL THEN '{{"amount": 1}}'::jsonb END,
               'f', t, taken, CASE WHEN taken IS NOT NULL THEN md5(n::text) END
        FROM generate_series(1, {SIGNALS_THERE}) AS n,
             LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '1 second' AS t) AS at,
             LATERAL (SELECT CASE WHEN n % 20000 <> 9 THEN t + interval '1 hour' END AS taken) AS by""",
}

MIDDLE = 'p=older["2026-01-06T00:00:00%2B00:00","f"]'
A_PAGE = 1_500
"""A page of the list, and the names of the thousand newest runs for the filter, with something to spare."""

READ = {
    RUNS: A_PAGE,
    f"{RUNS}?{MIDDLE}": A_PAGE,
    f"{RUNS}?{MIDDLE.replace('older', 'newer')}": A_PAGE,
    f"{RUNS}?status=failed": A_PAGE,
    f"{RUNS}?status=failed&{MIDDLE}": A_PAGE,
    f"{RUNS}?status=pending": A_PAGE,
    f"{RUNS}?created=before": A_PAGE,
    f"{RUNS}?created=hour&status=completed": A_PAGE,
    f"{RUNS}?q=c4ca4238a0b923820dcc509a6f75849b": A_PAGE + SCANNED,
    f"{RUNS}?q=a": A_PAGE + 1_500,
    f"{RUNS}?q=request-77777": A_PAGE,
    f"{RUNS}?q=order": A_PAGE + 3 * SCANNED,
    f"{RUNS}?q=nothing-like-it&status=failed": A_PAGE + 3 * SCANNED,
    f"{RUNS}?saga=order": A_PAGE + SCANNED,
    f"{RUNS}?saga=rare": A_PAGE + 2 * SCANNED,
    f"{RUNS}?saga=rare&status=failed": A_PAGE + SCANNED,
    f"{RUNS}?saga=nobodys&{MIDDLE}": A_PAGE + 2 * SCANNED,
    f"{RUNS}c4ca4238a0b923820dcc509a6f75849b/change/": 50,
    EVENTS: A_PAGE,
    f"{EVENTS}?status=dead": A_PAGE,
    f"{EVENTS}?status=sent": A_PAGE,
    f"{EVENTS}?status=pending": A_PAGE + 2 * SCANNED,
    f"{EVENTS}?q=event-77": A_PAGE,
    SIGNALS: A_PAGE,
    f"{SIGNALS}?state=taken": A_PAGE,
    f"{SIGNALS}?q=pi_777": A_PAGE,
    f"{SIGNALS}?q=c4ca4238a0b923820dcc509a6f75849b": A_PAGE,
    f"{SIGNALS}signal-9/change/": 50,
}
"""How many rows a page may read."""


def fill(cursor, table):
    # Into a table without indexes, and then the indexes: a third of the time. All of it is rolled back.
    cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [table])
    indexes = cursor.fetchall()
    cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u')", [table])
    for [name] in cursor.fetchall():
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX IF EXISTS {name}")
    cursor.execute(FILL[table])
    for _, definition in indexes:
        cursor.execute(definition)
    cursor.execute(f"ANALYZE {table}")


@kept_in("pg")
@pytest.mark.timeout(180)
def test_a_page_reads_a_bounded_number_of_rows(login, home):
    viewer = login("viewer")
    viewer.get(RUNS)
    with connections["pg"].cursor() as cursor:
        for table in FILL:
            fill(cursor, table)
        found = {}
        for address in READ:
            with CaptureQueriesContext(connections["pg"]) as queries:
                assert viewer.get(address).status_code == 200
            statements = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
            found[address] = (len(statements), sum(rows_read(cursor, statement) for statement in statements))
    assert {address: read for address, (asked, read) in found.items() if asked > 8 or read > READ[address]} == {}

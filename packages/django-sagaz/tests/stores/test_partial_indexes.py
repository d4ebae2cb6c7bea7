"""By what the runs that are to be erased, and those of an owner, are found, and what no index holds."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from places import place
from plans import rows_read

from django_sagaz._stores.orm.erasure import _meant
from django_sagaz._stores.orm.maintenance import find
from django_sagaz.models.indexes import PartialIndex
from sagaz_durable.stores.postgresql import reads
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import RunFilter

OWNERS, RUNS_OF_EACH = 200, 20
"""All have ended, and those of all owners but one were erased."""

FILL = f"""
    INSERT INTO sagaz_run (saga_id, saga_name, status, owner, context, attempt, failures, created_at, updated_at,
                           finished_at, fingerprint)
    SELECT 'run-' || n, 'order', CASE n / {OWNERS} % 5 WHEN 1 THEN 'failed' WHEN 2 THEN 'waiting' ELSE 'completed' END,
           'user:' || n % {OWNERS}, '{{}}', 1, 0, t, t, t,
           CASE WHEN n % {OWNERS} = 42 THEN 'f' ELSE 'erased:f' END
    FROM generate_series(0, {OWNERS * RUNS_OF_EACH - 1}) AS n,
         LATERAL (SELECT timestamptz '2026-01-01Z' - n * interval '1 second' AS t) AS at"""


@contextmanager
def filled():
    """Yield a cursor of PostgreSQL that knows its runs: how it reads few, or what it believes of them, is chance."""
    with transaction.atomic("pg"), connections["pg"].cursor() as cursor:
        cursor.execute(FILL)
        cursor.execute("ANALYZE sagaz_run")
        yield cursor


BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("alias", [place("default")])
def test_what_is_to_be_erased_is_found_by_an_index_of_its_own(alias):
    assert "sagaz_run_erasable" in to_be_erased(alias).explain()


@pytest.mark.parametrize("alias", [place("pg")])
def test_in_postgresql_the_search_for_what_is_to_be_erased_reads_nothing_that_was_erased(alias):
    with filled() as cursor:
        with CaptureQueriesContext(connections[alias]) as asked:
            assert len(to_be_erased(alias)) == RUNS_OF_EACH - RUNS_OF_EACH // 5
        assert rows_read(cursor, asked.captured_queries[0]["sql"]) <= 2 * RUNS_OF_EACH


def to_be_erased(alias):
    erasure = Erasure("worker", "", ("completed", "failed"), before=BEFORE)
    return _meant(connections[alias], erasure).order_by("finished_at")[:100]


@pytest.mark.parametrize("alias", [place("default"), place("pg"), place("maria")])
@pytest.mark.parametrize(
    ("name", "column"),
    [
        (index.name, index.filled)
        for model in apps.get_app_config("django_sagaz").get_models()
        for index in model._meta.indexes
        if isinstance(index, PartialIndex)
    ],
)
def test_a_row_without_a_value_is_in_no_index_of_those_that_have_one_where_the_database_can_leave_it_out(
    alias, name, column
):
    texts = {
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = %s",
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = %s",
        "mysql": "SELECT DISTINCT index_name FROM information_schema.statistics WHERE index_name = %s",
    }
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(texts[connection.vendor], [name])
        [(text,)] = cursor.fetchall()
    assert connection.vendor == "mysql" or re.search(f'WHERE \\(?"?{column}"? IS NOT NULL', text)


FIRST_AND_LATER = pytest.mark.parametrize("before", [None, (BEFORE, "x")], ids=["first", "later"])
STATUSES = pytest.mark.parametrize("statuses", [(), ("failed",), ("failed", "waiting")], ids=["all", "one", "two"])


@pytest.mark.parametrize("alias", [place("default")])
@FIRST_AND_LATER
@STATUSES
def test_the_runs_of_an_owner_are_found_by_an_index_of_their_own(alias, before, statuses):
    with CaptureQueriesContext(connections[alias]) as asked:
        assert find(connections[alias], RunFilter(owner="user:42", statuses=statuses, before=before)) == []
    assert len(asked.captured_queries) == (len(statuses) or 7)
    with connections[alias].cursor() as cursor:
        for query in asked.captured_queries:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"].replace("%", "%%"))
            plan = "\n".join(str(row) for row in cursor.fetchall())
            assert "sagaz_run_owner (owner=? AND status=?" in plan
            assert "TEMP B-TREE" not in plan


class Asked:
    """A database that only notes what it is asked."""

    async def fetch(self, template, values):
        self.question = template.replace("{schema}.", ""), values
        return []


@pytest.mark.parametrize("alias", [place("pg")])
@FIRST_AND_LATER
@STATUSES
def test_in_postgresql_no_runs_of_others_are_read_for_those_of_an_owner(alias, before, statuses):
    asked = Asked()
    asyncio.run(reads.find(asked, RunFilter(owner="user:42", statuses=statuses, before=before)))
    with filled() as cursor:
        # The owner's own, and one of each status that there is.
        assert rows_read(cursor, *asked.question) <= RUNS_OF_EACH + 10

"""By what the runs that are to be erased, and those of an owner, are found, and what no index holds."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db import connections
from django.test.utils import CaptureQueriesContext
from places import place

from django_sagaz._stores.orm.erasure import _meant
from django_sagaz._stores.orm.maintenance import find
from django_sagaz.models.indexes import PartialIndex
from sagaz_durable.stores.postgresql import reads
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.listings import RunFilter

PLACES = pytest.mark.parametrize("alias", [place("default"), place("pg")])


@contextmanager
def by_index(alias: str):
    """Yield a cursor; of an empty table PostgreSQL would read the whole, which is nothing."""
    scans = ("enable_seqscan", "enable_bitmapscan") if alias == "pg" else ()
    with connections[alias].cursor() as cursor:
        for scan in scans:
            cursor.execute(f"SET {scan} = off")
        try:
            yield cursor
        finally:
            for scan in scans:
                cursor.execute(f"RESET {scan}")


@PLACES
def test_what_is_to_be_erased_is_found_by_an_index_of_its_own(alias):
    before = datetime(2026, 1, 1, tzinfo=UTC)
    meant = _meant(connections[alias], Erasure("worker", "", ("completed",), before=before)).order_by("finished_at")
    with by_index(alias):
        plan = meant[:100].explain()
    assert "sagaz_run_erasable" in plan


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


FIRST_AND_LATER = pytest.mark.parametrize(
    "before", [None, (datetime(2026, 1, 1, tzinfo=UTC), "x")], ids=["first", "later"]
)
STATUSES = pytest.mark.parametrize("statuses", [(), ("failed",), ("failed", "waiting")], ids=["all", "one", "two"])


@pytest.mark.parametrize("alias", [place("default")])
@FIRST_AND_LATER
@STATUSES
def test_the_runs_of_an_owner_are_found_by_an_index_of_their_own(alias, before, statuses):
    with CaptureQueriesContext(connections[alias]) as asked:
        assert find(connections[alias], RunFilter(owner="user:42", statuses=statuses, before=before)) == []
    assert len(asked.captured_queries) == (len(statuses) or 7)
    with by_index(alias) as cursor:
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
def test_in_postgresql_that_index_is_as_the_engines_statement_needs_it(alias, before, statuses):
    asked = Asked()
    asyncio.run(reads.find(asked, RunFilter(owner="user:42", statuses=statuses, before=before)))
    statement, values = asked.question
    with by_index(alias) as cursor:
        cursor.execute(f"EXPLAIN {statement}", values)
        plan = "\n".join(str(row) for row in cursor.fetchall())
    assert "sagaz_run_owner" in plan
    assert re.search(r"Index Cond: .*owner.*status", plan)

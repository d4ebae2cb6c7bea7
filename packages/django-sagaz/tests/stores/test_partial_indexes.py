"""By what the runs that are to be erased, and those of an owner, are found."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from places import place

from django_sagaz._stores.orm.erasure import _meant
from django_sagaz._stores.orm.maintenance import find
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


@PLACES
@pytest.mark.parametrize("before", [None, (datetime(2026, 1, 1, tzinfo=UTC), "x")], ids=["first", "later"])
def test_the_runs_of_an_owner_are_found_by_an_index_of_their_own(alias, before):
    with CaptureQueriesContext(connections[alias]) as asked:
        assert find(connections[alias], RunFilter(owner="user:42", before=before)) == []
    [question] = [query["sql"] for query in asked.captured_queries]
    with by_index(alias) as cursor:
        cursor.execute(("EXPLAIN " if alias == "pg" else "EXPLAIN QUERY PLAN ") + question.replace("%", "%%"))
        plan = "\n".join(str(row) for row in cursor.fetchall())
    assert "sagaz_run_owner" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan

"""By what the runs that are to be erased are found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connections
from places import place

from django_sagaz._stores.orm.erasure import _meant
from sagaz_integration_core.contract.decisions import Erasure


@pytest.mark.parametrize("alias", [place("default"), place("pg")])
def test_what_is_to_be_erased_is_found_by_an_index_of_its_own(alias):
    before = datetime(2026, 1, 1, tzinfo=UTC)
    meant = _meant(connections[alias], Erasure("worker", "", ("completed",), before=before)).order_by("finished_at")
    with connections[alias].cursor() as cursor:
        if alias == "pg":
            # Of an empty table it would read the whole, which is nothing.
            cursor.execute("SET enable_seqscan = off")
            cursor.execute("SET enable_bitmapscan = off")
        try:
            plan = meant[:100].explain()
        finally:
            if alias == "pg":
                cursor.execute("RESET enable_seqscan")
                cursor.execute("RESET enable_bitmapscan")
    assert "sagaz_run_erasable" in plan

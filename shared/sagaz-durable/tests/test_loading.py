"""What a process pays for before its first run: modules, and looking for garbage among them."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from sagaz_durable import without_collections


@pytest.fixture
def collecting():
    assert gc.isenabled()
    yield
    gc.unfreeze()
    gc.enable()


def made_without_collections() -> list[object]:
    with without_collections():
        assert not gc.isenabled()
        return [[]]


def test_what_was_made_without_collections_is_not_young_afterwards(collecting):
    made = made_without_collections()
    assert gc.isenabled()
    assert not any(one is made for one in gc.get_objects(generation=0))


def test_what_an_application_has_frozen_stays_frozen(collecting):
    gc.freeze()
    frozen = gc.get_freeze_count()
    made_without_collections()
    assert gc.get_freeze_count() > frozen / 2


def test_an_application_that_collects_nothing_keeps_it_so(collecting):
    gc.disable()
    made_without_collections()
    assert not gc.isenabled()


WORKER = """
import sys
import sagaz_durable.cli.click_commands, sagaz_durable.runtime.runtime, sagaz_durable.stores.postgresql.store
print(*sorted(sys.modules))
"""


def test_a_worker_on_postgresql_loads_nothing_of_sqlite_and_what_only_mistakes_and_people_need():
    loaded = subprocess.run([sys.executable, "-c", WORKER], check=True, capture_output=True, text=True, timeout=60)
    names = loaded.stdout.split()
    assert "sagaz_durable.workers.worker" in names
    unneeded = {"sqlite3", "statistics", "difflib", "sagaz_durable.diagram", "sagaz_durable.operations.operator"}
    assert unneeded.isdisjoint(names)

"""The choice of a store by its URL."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.errors import SettingsError


def settings(url, **values):
    return replace(Settings(), storage_url=url, **values)


def test_memory_is_bounded_by_its_setting():
    store = create_store(settings("memory://", keep_finished=7))
    assert isinstance(store, MemoryStore)
    assert store._rows._keep_finished == 7


def test_sqlite_gets_its_file_and_its_patience(tmp_path):
    store = create_store(settings(f"sqlite:///{tmp_path}/a.db", sqlite_busy_seconds=1.5))
    assert isinstance(store, SQLiteStore)
    assert store.transactions._path == str(tmp_path / "a.db")
    assert store.transactions._busy_seconds == 1.5
    assert not (tmp_path / "a.db").exists()


def test_postgresql_without_its_driver_names_the_extra(monkeypatch):
    drivers, ours = ("psycopg", "psycopg_pool"), "sagaz_durable.stores.postgresql."
    for name in [name for name in sys.modules if name.partition(".")[0] in drivers or name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    with pytest.raises(SettingsError, match=r'pip install "sagaz-durable\[postgres\]"'):
        create_store(settings("postgresql://u:secret@host/db"))

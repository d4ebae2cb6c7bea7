"""The cases for stores, as the author of another store uses them: with nothing of this repository's configuration."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent


def executed(path, store, *arguments):
    """Run the cases on a store that this code defines as ``Store``; return what pytest says."""
    code = """
    import pytest
    from sagaz_durable.stores.memory.store import MemoryStore
    from sagaz_durable.testing.store_conformance import Reopening, StoreConformance

    @pytest.fixture
    async def store():
        store = Store()
        await store.open()
        yield store
        await store.close()

    class TestStore(StoreConformance, Reopening): ...
    """
    (path / "test_store.py").write_text(f"{dedent(code)}\n\n{dedent(store)}")
    (path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments]
    return subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=100, check=False).stdout


def test_a_store_that_keeps_its_promises_passes_all_cases(tmp_path):
    out = executed(tmp_path, "Store = MemoryStore")
    assert " passed" in out, out
    assert "failed" not in out, out
    assert "skipped" not in out, out


def test_a_broken_promise_fails_its_case_and_tells_what_was_compared(tmp_path):
    forgetful = """
    class Store(MemoryStore):
        async def load_audit(self, saga_id):
            return []
    """
    out = executed(tmp_path, forgetful, "-k", "test_of_many_at_once or test_a_foreign_row_is_left_alone")
    assert "1 failed, 1 passed" in out, out
    assert "test_of_many_at_once_one_has_its_way" in out
    assert "where 0 = len([])" in out, out

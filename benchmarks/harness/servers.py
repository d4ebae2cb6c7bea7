"""PostgreSQL and Redis for the contenders, with settings under which an answered commit survives a power cut."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psycopg

from benchmarks.harness.processes import ROOT, running

__all__ = ["durability", "postgres", "redis", "why_no_redis"]

_REQUIRED = {"fsync": ("on",), "synchronous_commit": ("on", "remote_apply"), "full_page_writes": ("on",)}
_SHOWN = (*_REQUIRED, "wal_sync_method", "shared_buffers", "max_connections", "server_version")


def _tests_pg() -> ModuleType:
    # The tests' own server, which is not on the path of what is installed.
    path = ROOT / "shared/sagaz-durable/tests/pg.py"
    spec = importlib.util.spec_from_file_location("sagaz_core_tests_pg", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_pg = _tests_pg()
database = _pg.database


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Give the URL of a PostgreSQL server: SAGAZ_BENCH_POSTGRES_URL, or the one of the tests' wheel.

    Raises:
        SystemExit: It does not keep what it has committed, so that its figures would mean nothing.
    """
    if given := os.environ.get("SAGAZ_BENCH_POSTGRES_URL"):
        durability(given)
        yield given
        return
    # shared_buffers is 128 MB by default, in which the million rows of the growth job would not fit.
    server = _pg.Server(folder / "pg", "-c shared_buffers=512MB -c max_wal_size=4GB")
    server.start()
    try:
        durability(server.url)
        yield server.url
    finally:
        server.stop("fast")
        shutil.rmtree(folder / "pg")


def durability(url: str) -> dict[str, str]:
    """Return a server's settings that matter, and refuse one that is not durable."""
    with psycopg.connect(url, autocommit=True) as connection:
        shown = {}
        for name in _SHOWN:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
            shown[name] = str(row[0]) if row else ""
    for name, allowed in _REQUIRED.items():
        if shown[name] not in allowed:
            raise SystemExit(f"PostgreSQL has {name} = {shown[name]}; benchmarks need {' or '.join(allowed)}.")
    return shown


def why_no_redis() -> str | None:
    """Return why there is no Redis here, if so."""
    if os.environ.get("SAGAZ_BENCH_REDIS_URL") or shutil.which("redis-server"):
        return None
    return "no redis-server: apt-get install redis-server, or set SAGAZ_BENCH_REDIS_URL"


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Give the URL of a Redis server that writes everything to its file: SAGAZ_BENCH_REDIS_URL, or one of our own."""
    if given := os.environ.get("SAGAZ_BENCH_REDIS_URL"):
        yield given
        return
    # In a folder with a short path: that of a socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sagaz-redis-") as short:
        socket = Path(short) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", short]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        with running(command, folder / "redis.log", group=True):
            _wait_for(socket)
            yield f"redis+socket://{socket}"


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 10
    while not _answers(socket):
        if time.monotonic() > deadline:
            raise SystemExit("redis-server did not answer within 10 s.")
        time.sleep(0.02)


def _answers(socket: Path) -> bool:
    done = subprocess.run(["redis-cli", "-s", str(socket), "ping"], capture_output=True, check=False)
    return done.stdout.strip() == b"PONG"

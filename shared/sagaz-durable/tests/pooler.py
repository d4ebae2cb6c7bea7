"""A real PgBouncer in front of the tests' PostgreSQL, in transaction mode: sessions belong to nobody for long."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

__all__ = ["pooled"]

_CONFIG = """
[databases]
* = host={host}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
server_reset_query_always = 0
"""


@contextlib.contextmanager
def pooled(url: str, *roles: str) -> Iterator[str]:
    """Give the URL of a database as it is reached, by these roles too, through a pooler with three connections."""
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.fail("SAGAZ_TEST_PGBOUNCER is set, and there is no PgBouncer: apt-get install pgbouncer")
    parts = urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="sagaz-pooler-"))
    (folder / "users").write_text("".join(f'"{role}" ""\n' for role in ("postgres", *roles)))
    (folder / "config").write_text(_CONFIG.format(host=parse_qs(parts.query)["host"][0], folder=folder))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": "nobody", "extra_groups": []}
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, folder / "config"], stdout=log, stderr=log, cwd="/", **user)
    pooled_url = f"postgresql://postgres@/{parts.path.lstrip('/')}?host={folder}&port=6432"
    try:
        _wait(process, pooled_url, folder / "log")
        yield pooled_url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, prepare_threshold=None).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return

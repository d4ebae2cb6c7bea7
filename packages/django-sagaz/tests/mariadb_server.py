"""A MariaDB of the tests' own, in a temporary folder, reached through a Unix socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["mariadb"]


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """Give the path of the socket of a server that root may enter without a password."""
    folder = Path(tempfile.mkdtemp(prefix="sagaz-maria-"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    common = [f"--datadir={folder / 'data'}", *user]
    # Without --skip-test-db, everybody may do everything in databases whose names begin with test_, as ours do.
    options = ["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]
    subprocess.run(["mariadb-install-db", *options, *common], check=True, capture_output=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["mariadbd", "--no-defaults", *common, f"--socket={folder / 's'}", "--skip-networking"],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(_admin(folder, "ping"), capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield str(folder / "s")
    finally:
        subprocess.run(_admin(folder, "shutdown"), capture_output=True, check=False)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder)


def _admin(folder: Path, word: str) -> list[str]:
    return ["mariadb-admin", "--no-defaults", f"--socket={folder / 's'}", "--user=root", word]

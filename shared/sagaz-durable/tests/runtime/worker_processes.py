"""Workers in processes of their own, under a supervisor, and what their steps have written to a ledger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

PROGRAM = Path(__file__).with_name("worker_program.py")

PACE = {
    "SAGAZ_LEASE_SECONDS": "1.5", "SAGAZ_RENEW_SECONDS": "0.3", "SAGAZ_POLL_SECONDS": "0.1",
    "SAGAZ_BACKOFF_SECONDS": "0.05", "SAGAZ_BACKOFF_MAX_SECONDS": "0.2", "SAGAZ_DRAIN_SECONDS": "5",
}  # fmt: skip


class Call(NamedTuple):
    """One call of a step."""

    what: str
    saga_id: str
    attempt: int
    retry: int
    pid: int
    at: float


class Workers:
    """Processes that are started again when they end, and the ledger of their steps."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self._sqlite = url.removeprefix("sqlite:///") if url.startswith("sqlite:") else None
        self._env = {**os.environ, **PACE, "SAGAZ_STORAGE_URL": url, "PYTHONUNBUFFERED": "1"}
        self._commands: dict[int, tuple[list[str], dict[str, str]]] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.exit_codes: list[int] = []

    def start(self, *sagas: str, **settings: object) -> int:
        """Start a worker that knows these sagas; return its number."""
        number = len(self._commands)
        env = {f"SAGAZ_{name.upper()}": str(value) for name, value in settings.items()}
        self._commands[number] = ([sys.executable, str(PROGRAM), str(self.ledger), *sagas], self._env | env)
        self._run(number)
        return number

    def _run(self, number: int) -> None:
        command, env = self._commands[number]
        with self._log(number).open("ab") as log:
            self.processes[number] = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def _log(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"

    def tend(self) -> None:
        """Start again what has ended, as a supervisor does."""
        for number, process in self.processes.items():
            if (code := process.poll()) is not None:
                self.exit_codes.append(code)
                self._run(number)

    @property
    def logs(self) -> str:
        """What all workers wrote."""
        return "".join(self._log(number).read_text() for number in self._commands)

    def calls(self) -> list[Call]:
        """Return all calls of steps so far."""
        if not self.ledger.exists():
            return []
        return [Call(*json.loads(line)) for line in self.ledger.read_text().splitlines()]

    def counts(self) -> Counter[str]:
        """Return how often each step was called."""
        return Counter(call.what for call in self.calls())

    async def until(self, condition, what: str, seconds: float = 60, *, supervised: bool = True):
        """Wait for a condition, which may be asynchronous; return what it returned."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = condition()
                    found = await found if asyncio.iscoroutine(found) else found
                    if found:
                        return found
                    if supervised:
                        self.tend()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{self.calls()}\n{self.logs[-6000:]}") from None

    def signal(self, number: int, which: int) -> None:
        """Send a signal to one of the processes."""
        self.processes[number].send_signal(which)

    async def stop(self, number: int) -> None:
        """Stop one of the processes with SIGSTOP, but not while it has SQLite's file locked for everybody."""
        self._stop_now(number)
        while self._sqlite is not None and not _can_be_written(self._sqlite):
            self.signal(number, signal.SIGCONT)
            await asyncio.sleep(0.05)
            self._stop_now(number)

    def _stop_now(self, number: int) -> None:
        """Return when all threads stand still: one that does not yet could still lock the file."""
        self.signal(number, signal.SIGSTOP)
        os.waitid(os.P_PID, self.processes[number].pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)


def _can_be_written(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


@contextmanager
def workers(folder: Path, url: str):
    """Leave no process behind."""
    found = Workers(folder, url)
    try:
        yield found
    finally:
        found.close()

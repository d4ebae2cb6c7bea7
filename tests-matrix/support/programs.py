"""Real programs in processes of their own: started, watched, killed by their pid, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Program", "environment", "free_port", "script"]

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without its SAGAZ settings, with these variables and the test applications' path."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SAGAZ_")}
    paths = [str(ROOT / "tests-matrix"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**own, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **variables}


def script(name: str, main: str) -> list[str]:
    """Return the command that is installed beside this Python, or what it does when the tree is not installed."""
    path = Path(sys.executable).with_name(name)
    if path.exists():
        return [str(path)]
    module, _, function = main.partition(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}()"]


@dataclass
class Program:
    """One program that is started again and again, with one log for all of its processes."""

    command: Sequence[str]
    log: Path
    env: Mapping[str, str]
    ready: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_start: int = field(default=0, init=False)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the process that runs now has written ``ready`` to its log."""
        return self.ready.encode() in self.log.read_bytes()[self._log_start :]

    @property
    def exitcode(self) -> int | None:
        """How it ended: None while it runs; a negative signal number when it was killed."""
        assert self.process is not None
        return self.process.poll()

    def children(self) -> list[int]:
        """Return the processes that the one that runs now has forked, the oldest first."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def start(self) -> None:
        """Start a process; the one before it has ended."""
        assert self.process is None or self.process.poll() is not None
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                list(self.command), env=dict(self.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def signal(self, number: int) -> None:
        """Send a signal; harmless when it has ended."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def tail(self, size: int = 4_000) -> str:
        """Return the end of the log, for an assertion's message."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

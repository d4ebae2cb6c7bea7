"""Server processes of one application, which share a store and die at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.programs import Program, environment, free_port

__all__ = ["GUNICORN", "MIGRATE", "PROCESSES", "Served", "Servers"]

PROCESSES = 3

GUNICORN = ["-m", "gunicorn", "--preload", "--workers", str(PROCESSES), "--timeout", "300"]
MIGRATE = ["-m", "django", "migrate", "--verbosity", "0"]


@dataclass(frozen=True)
class Served:
    """An application, and how it is served.

    Attributes:
        command: Without a place to listen at. gunicorn's forks its processes; of other servers there are several.
        tables: What makes the tables, where the application does not.
        worker: What executes runs beside the servers, if something does.
    """

    package: str
    command: list[str]
    path: str = "/orders"
    env: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    worker: list[str] = field(default_factory=list)

    @property
    def forks(self) -> bool:
        return self.command[1] == "gunicorn"


class Servers:
    """The processes of one application."""

    def __init__(self, served: Served, folder: Path, url: str) -> None:
        self.held = folder / "held"
        self._path = served.path
        pace = {"SAGAZ_LEASE_SECONDS": "2", "SAGAZ_RENEW_SECONDS": "0.5", "SAGAZ_ANSWER_WAIT_SECONDS": "0.5"}
        env = environment(SAGAZ_STORAGE_URL=url, KILLS_HELD=str(self.held), **pace, **served.env)
        if served.tables:
            subprocess.run([sys.executable, *served.tables], env=env, check=True)
        self._ports = [free_port() for _ in range(1 if served.forks else PROCESSES)]
        self._programs = []
        for port in self._ports:
            place = ["--bind", f"127.0.0.1:{port}"] if served.forks else ["--port", str(port)]
            program = Program([sys.executable, *served.command, *place], folder / f"server-{port}.log", env)
            self._programs.append(program)
            program.start()
        self._worker = Program([sys.executable, *served.worker], folder / "worker.log", env)
        if served.worker:
            self._worker.start()

    def address(self, number: int) -> str:
        return f"http://127.0.0.1:{self._ports[number % len(self._ports)]}{self._path}"

    async def are_up(self, http: httpx.AsyncClient) -> bool:
        for program, port in zip(self._programs, self._ports, strict=True):
            assert program.exitcode is None, program.tail()
            try:
                (await http.get(f"http://127.0.0.1:{port}/up")).raise_for_status()
            except httpx.TransportError:
                return False
        return True

    def kill_the_one_that_is_held(self) -> None:
        """SIGKILL."""
        os.kill(int(self.held.read_text()), signal.SIGKILL)

    def close(self) -> None:
        self._worker.close()
        for program in self._programs:
            children = program.children()
            program.close()
            # What a master has forked does not end with it at once.
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

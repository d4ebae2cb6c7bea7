"""The processes of a storm: started, killed by their pid, started again, and asked to leave at the end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from storm.plan import Plan
from support.programs import Program, environment, free_port
from support.waiting import until_true

__all__ = ["Fleet", "Framework"]

_PACE = {
    "SAGAZ_LEASE_SECONDS": "3",
    "SAGAZ_RENEW_SECONDS": "0.5",
    "SAGAZ_POLL_SECONDS": "0.2",
    "SAGAZ_BACKOFF_SECONDS": "0.1",
    "SAGAZ_BACKOFF_MAX_SECONDS": "1",
    "SAGAZ_MAX_FAILURES": "200",
    "SAGAZ_DRAIN_SECONDS": "20",
    "SAGAZ_LOGGING": "false",
    "SAGAZ_METRICS": "false",
}


@dataclass(frozen=True)
class Framework:
    """How a framework's programs are started.

    Attributes:
        serve: The command that serves the application, given a loopback port.
        work: The command that runs a worker until it is told to stop.
        migrate: The command that creates the tables, if one is needed; run once, before everything else.
        ready: What the server and the worker write to their logs, each at its start, when they are at work.
        env: What its programs need besides the SAGAZ settings.
        forks: Whether the server forks processes that do its work: one of those is killed, and it replaces it.
        work_forks: Whether the worker does: now one of those is killed, now the worker, which takes them along.
        others: Commands of programs beside them, which nobody kills.
    """

    serve: Callable[[int], list[str]]
    work: list[str]
    ready: tuple[str, str]
    migrate: list[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    forks: bool = False
    work_forks: bool = False
    others: Sequence[list[str]] = ()


@dataclass
class Fleet:
    """All processes of a storm, in slots: first the workers, then the servers.

    Attributes:
        kills: Pid and time of every SIGKILL that was sent.
        struck: How often a worker was killed, and how often a server; a forked child counts as what it belongs to.
        exits: Pid, time and exit code of every process that ended by itself, without SIGKILL.
        stops: Pid and times of every SIGSTOP and its SIGCONT.
    """

    plan: Plan
    framework: Framework
    folder: Path
    storage_url: str
    kills: list[tuple[int, float]] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    exits: list[tuple[int, float, int]] = field(default_factory=list)
    stops: list[tuple[int, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        ledger = str(self.folder / "ledger")
        pace = {**_PACE, **self.framework.env}
        self._env = environment(**pace, SAGAZ_STORAGE_URL=self.storage_url, STORM_LEDGER=ledger)
        if self.plan.rough:
            self._env["SAGAZ_MAX_FAILURES"] = "4"
        self._lock = threading.Lock()
        self.ports = [free_port() for _ in range(self.plan.webs)]
        web, worker = self.framework.ready
        work = [self._program(self.framework.work, f"worker-{n}", worker) for n in range(self.plan.workers)]
        serve = [self._program(self.framework.serve(port), f"web-{n}", web) for n, port in enumerate(self.ports)]
        if self.plan.rough and len(work) > 1:
            work[0].env = {**work[0].env, "STORM_KNOWS_HALF": "1"}
        others = [self._program(command, f"other-{n}") for n, command in enumerate(self.framework.others)]
        self.slots = [*work, *serve, *others]

    def _program(self, command: list[str], name: str, ready: str = "") -> Program:
        return Program(command, self.folder / f"{name}.log", self._env, ready)

    @property
    def workers(self) -> list[Program]:
        """The workers."""
        return self.slots[: self.plan.workers]

    def start(self) -> None:
        """Start everything, and return when every server answers."""
        if self.framework.migrate is not None:
            migration = self._program(self.framework.migrate, "migrate")
            migration.start()
            assert migration.wait(60) == 0, migration.tail()
        for program in self.slots:
            program.start()
        for port in self.ports:
            until_true(lambda port=port: self._is_up(port), f"a server answers on port {port}", 40)

    def _is_up(self, port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/up", trust_env=False, timeout=5).is_success
        except httpx.TransportError:
            return False

    def kill(self, victim: int) -> None:
        """SIGKILL the process in a slot, or in the next one that is at work, and start another one.

        Killing Python while it imports would prove nothing, and on a busy machine nobody would ever get to work.
        """
        with self._lock:
            for program in [*self.slots[victim:], *self.slots[:victim]]:
                if program.exitcode is None and program.is_ready and self._kill(program):
                    self.struck["worker" if self.slots.index(program) < self.plan.workers else "server"] += 1
                    return

    def _kill(self, program: Program) -> bool:
        slot = self.slots.index(program)
        if slot >= self.plan.workers + self.plan.webs:
            return False
        works = slot < self.plan.workers
        forks = self.framework.work_forks if works else self.framework.forks
        children = program.children() if forks else []
        if not forks or (works and len(self.kills) % 3 == 0):
            for pid in (program.pid, *children):
                self.kills.append((pid, time.monotonic()))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            program.wait(10)
            program.start()
            return True
        if children:
            self.kills.append((children[0], time.monotonic()))
            os.kill(children[0], signal.SIGKILL)
        return bool(children)

    def stop(self, victim: int, seconds: float, over: threading.Event) -> None:
        """SIGSTOP the process in a slot that is at work, or one that it has forked, and SIGCONT it afterwards."""
        with self._lock:
            program = self.slots[victim]
            if program.exitcode is not None or not program.is_ready:
                return
            forks = self.framework.work_forks if victim < self.plan.workers else self.framework.forks
            children = program.children() if forks else []
            pid = children[0] if children else program.pid
            began = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        over.wait(seconds)
        self.stops.append((pid, began, time.monotonic()))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def tend(self) -> None:
        """Start again what ended by itself: by a crash in a saga, or because the database was unreachable."""
        with self._lock:
            for program in self.slots:
                code = program.exitcode
                if code is not None:
                    if code != -signal.SIGKILL:
                        self.exits.append((program.pid, time.monotonic(), code))
                    program.start()

    def leave(self) -> list[int]:
        """SIGTERM everything, and return the exit codes."""
        with self._lock:
            for program in self.slots:
                program.signal(signal.SIGTERM)
            return [program.wait(40) for program in self.slots]

    def close(self) -> None:
        """Leave no process behind, whatever has happened."""
        for program in self.slots:
            program.close()

    def save(self) -> None:
        """Write the kills beside the ledger."""
        told = {"kills": self.kills, "exits": self.exits, "stops": self.stops}
        (self.folder / "kills.json").write_text(json.dumps(told, indent=1))

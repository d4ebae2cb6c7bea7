"""Runs pytest again and again without its imports: reads arguments as JSON lines, answers with exit codes.

Usage: python tools/warm_tests.py, in the folder of the tests. What is imported beforehand is what no mutation changes;
each run is a fork of its own, with all that it starts in a process group of its own, which ends with it.

Reads lines of pytest's arguments, the seconds that it may take, and the tests that come first; answers with its exit
code and the test that failed first.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import signal
import sys
from typing import Any

IMPORTS = (
    "aiosqlite", "anyio", "anyio.pytest_plugin", "anyio._backends._asyncio", "asyncio", "graphlib", "hypothesis",
    "hypothesis.extra._patching", "psycopg", "psycopg_pool", "pydantic", "pytest_timeout", "sagaz", "sqlalchemy",
    "sqlalchemy.ext.asyncio", "xdist.plugin",
)  # fmt: skip

HUNG = 124


class Watch:
    """What pytest tells: has some tests come first, and writes down the first one that fails."""

    def __init__(self, first: list[str], told: int) -> None:
        self._places = {name: place for place, name in enumerate(first)}
        self._told = told

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sort the tests; the others keep their order."""
        items.sort(key=lambda item: self._places.get(item.nodeid, len(self._places)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write a name down."""
        if report.failed:
            os.write(self._told, f"{report.nodeid}\n".encode())


def run(arguments: list[str], seconds: float, first: list[str]) -> tuple[int, str]:
    """Run pytest in a fork; return its exit code, or ``HUNG``, and which test failed."""
    failed, told = os.pipe()
    # What tests have left behind may hold the other end open.
    os.set_blocking(failed, False)
    names = b""
    try:
        code = _run(arguments, seconds, Watch(first, told))
        with contextlib.suppress(BlockingIOError):
            names = os.read(failed, 1 << 16)
    finally:
        os.close(told)
        os.close(failed)
    return code, names.decode().partition("\n")[0]


def _run(arguments: list[str], seconds: float, watch: Watch) -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        import pytest

        code = 3
        try:
            code = int(pytest.main(arguments, [watch]))
        finally:
            # What tests left running in threads is not waited for.
            os._exit(code)
    ended = os.pidfd_open(pid)
    try:
        if not select.select([ended], [], [], seconds)[0]:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return HUNG
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return code
    finally:
        os.close(ended)


if __name__ == "__main__":
    for name in IMPORTS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # sagaz sets logging up when nobody has; under pytest somebody has.
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)

"""Runs pytest again and again without its imports: reads arguments as JSON lines, answers with exit codes.

Usage: python tools/warm_tests.py, in the folder of the tests. What is imported beforehand is what no mutation changes;
each run is a fork of its own, with all that it starts in a process group of its own, which ends with it.
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

IMPORTS = (
    "aiosqlite", "anyio", "anyio.pytest_plugin", "anyio._backends._asyncio", "asyncio", "graphlib", "hypothesis",
    "hypothesis.extra._patching", "psycopg", "psycopg_pool", "pydantic", "pytest_timeout", "sagaz", "sqlalchemy",
    "sqlalchemy.ext.asyncio", "xdist.plugin",
)  # fmt: skip

HUNG = 124


def run(arguments: list[str], seconds: float) -> int:
    """Run pytest in a fork; return its exit code, or ``HUNG``."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        import pytest

        code = 3
        try:
            code = int(pytest.main(arguments))
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
        arguments, seconds = json.loads(line)
        print(run(arguments, seconds), flush=True)

"""Other processes, started from a piece of code that finds an SQLite store's path in ``PATH``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

__all__ = ["finished", "started"]

_PRELUDE = """
import asyncio, os, sqlite3, sys, time
from sagaz_integration_core.contract.listings import *
from sagaz_integration_core.contract.records import *
from sagaz_durable.stores.sqlite.database.thread import ConnectionThread
from sagaz_durable.stores.sqlite.store import SQLiteStore
PATH = sys.argv[1]
KNOWN = {"OrderSaga": (), "S": ()}
"""


def started(path: Path, code: str) -> subprocess.Popen[str]:
    """Start a process; whoever does so calls `finished`, or kills it."""
    return subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + dedent(code), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], seconds: float = 60) -> str:
    """Wait until the process has ended well; return what it printed."""
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return out

"""Which files are open in SQLite, so that a fork does not open them a second time."""

from __future__ import annotations

import os
from collections import Counter

from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["forget", "register"]

# Global, as what it mirrors: SQLite's own table of the files that a process has locked. A fork inherits that table but
# not the locks, believes to hold them, and another process may delete what it is writing.
_open: Counter[tuple[str, int]] = Counter()


def register(path: str) -> None:
    """Note that this process opens a file.

    Raises:
        StoreUnavailable: It was open when this process was forked.
    """
    pids = [pid for (opened, pid), count in _open.items() if opened == path and count and pid != os.getpid()]
    if pids:
        raise StoreUnavailable(
            f"The SQLite store {path} was open in process {pids[0]} when it was forked, which SQLite does not survive. "
            "Open it only after the fork (with gunicorn --preload, in each worker's own start-up), or close it before."
        )
    _open[path, os.getpid()] += 1


def forget(path: str) -> None:
    """Note that this process has closed a file."""
    _open[path, os.getpid()] -= 1

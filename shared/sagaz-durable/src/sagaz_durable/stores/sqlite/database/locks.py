"""Whether this very process holds SQLite's write lock, as the kernel tells it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["own_process_writes"]

_LOCKS = Path("/proc/locks")
_WAL_WRITE_LOCK = 120
"""The byte of the -shm file that a writer locks in WAL mode."""
_RESERVED_LOCK = 0x40000001
"""The byte of the database file that a writer locks in the other journal modes."""


def own_process_writes(path: str) -> bool | None:
    """Return whether a connection of this process is in a write transaction; None where that cannot be told.

    The files are only looked up by name: closing a file gives up all locks that its process has on it.
    """
    try:
        lines = _LOCKS.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    places = {(_inode(f"{path}-shm"), _WAL_WRITE_LOCK), (_inode(path), _RESERVED_LOCK)}
    return any(_tells_of(line.split(), inode, offset) for line in lines for inode, offset in places)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _tells_of(fields: list[str], inode: int | None, offset: int) -> bool:
    """Match ``7: POSIX ADVISORY WRITE <pid> <major>:<minor>:<inode> <first> <last>``; waiting locks have an arrow.

    The device is not compared: some file systems give another one here than in a file's status.
    """
    if len(fields) != 8 or fields[1] != "POSIX" or fields[3:5] != ["WRITE", str(os.getpid())]:
        return False
    last = offset if fields[7] == "EOF" else int(fields[7])
    return fields[5].rpartition(":")[2] == str(inode) and int(fields[6]) <= offset <= last

"""When each run was enqueued, began and ended, and where: a file in the memory of all processes of a measurement."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Ledger", "began", "ended"]

# The monotonic clock is the same one in all processes of a machine.
_SLOT = struct.Struct("ddd")
_ONE = struct.Struct("d")
_VARIABLE = "BENCH_LEDGER"


class Ledger:
    """One slot for each run."""

    def __init__(self, path: Path) -> None:
        self.environment = {_VARIABLE: str(path)}
        self._path = path

    def clear(self, slots: int) -> None:
        """Begin anew."""
        # Another file, because workers of the last turn may still have that one in their memory.
        self._path.unlink(missing_ok=True)
        self._path.write_bytes(b"\0" * _SLOT.size * slots)
        self._memory = _mapped(self._path)

    def wait(self, runs: Iterable[int], seconds: float) -> None:
        """Return when all of these runs have ended.

        Raises:
            TimeoutError: They have not, after so many seconds.
        """
        deadline = time.monotonic() + seconds
        for run in runs:
            while not self.end(run):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Run {run} has not ended after {seconds:g} s.")
                time.sleep(0.01)

    def begin(self, run: int) -> float:
        """When its first step was called; 0 if it was not."""
        return float(_SLOT.unpack_from(self._memory, run * _SLOT.size)[0])

    def end(self, run: int) -> float:
        """When its last step was called; 0 if it was not."""
        return float(_SLOT.unpack_from(self._memory, run * _SLOT.size)[1])

    def pids(self, runs: Iterable[int]) -> set[int]:
        """Return the processes that these runs ended in."""
        return {int(_SLOT.unpack_from(self._memory, run * _SLOT.size)[2]) for run in runs}


def began(run: int) -> None:
    """Note the first step of a run; called by steps of all contenders."""
    _ONE.pack_into(_own(), run * _SLOT.size, time.monotonic())


def ended(run: int) -> None:
    """Note the last step of a run; called by steps of all contenders."""
    _SLOT.pack_into(_own(), run * _SLOT.size, _SLOT.unpack_from(_own(), run * _SLOT.size)[0], time.monotonic(), _pid)


_memory: mmap.mmap | None = None
_pid = 0


def _own() -> mmap.mmap:
    global _memory, _pid
    if _memory is None or _pid != os.getpid():
        _memory, _pid = _mapped(Path(os.environ[_VARIABLE])), os.getpid()
    return _memory


def _mapped(path: Path) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0)

"""Child processes that never outlive the benchmark: stopped by their own ids, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["ROOT", "running", "stop", "surroundings", "unwind_on_sigterm"]

ROOT = Path(__file__).resolve().parents[2]
"""The repository, from where every process is started."""


def surroundings() -> dict[str, str]:
    """Return the environment that all processes are started in: this one's, without what would slow Python down."""
    slow = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
    return {**{name: value for name, value in os.environ.items() if name not in slow}, "PYTHONHASHSEED": "0"}


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    pipes: bool = False,
    group: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block lasts; its output goes to ``log``.

    Args:
        pipes: Whether its standard input and output are the caller's instead.
        group: Whether it leads a group, all of which is ended with it: it starts processes itself.
    """
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**surroundings(), **(environment or {})},
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            text=True,
            start_new_session=group,
        )
    try:
        yield process
    finally:
        stop(process)
        if group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def stop(process: subprocess.Popen[str], seconds: float = 10.0) -> None:
    """End a process, kindly at first."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def unwind_on_sigterm() -> None:
    """Have SIGTERM end this process as Ctrl+C does, so that it stops what it has started."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

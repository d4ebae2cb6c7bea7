"""Starting a command anew when code changes, as ``runserver`` does: one that code keeps from starting, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.utils import autoreload

__all__ = ["run_with_reloader"]

_CHANGED = 3
"""The exit code of a process whose code has changed."""


def run_with_reloader(command: Callable[..., object], *args: Any, tell: Callable[[str], None]) -> None:
    """Run a command in a process of its own, and another one whenever code changes.

    Django's own does that, and ends with a process that could not start: Django is set up before any command, and
    only ``runserver`` is told of what that raises.

    Args:
        tell: Prints a line.
    """
    if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        autoreload.run_with_reloader(command, *args)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        _supervise(tell)


def _supervise(tell: Callable[[str], None]) -> None:
    arguments = autoreload.get_child_arguments()
    environ = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    while True:
        # From before it reads the code: what is mended meanwhile is a change.
        files = _python_files()
        code = subprocess.run(arguments, env=environ, close_fds=False, check=False).returncode
        if code == _CHANGED:
            continue
        if code <= 0:
            sys.exit(code)
        tell("It could not start. Waiting until code changes; Ctrl+C stops.")
        while _python_files() == files:
            time.sleep(autoreload.StatReloader.SLEEP_TIME)


def _python_files() -> dict[Path, float]:
    reloader = autoreload.StatReloader()
    # What this process has not loaded may be what is wrong: new modules, and the sagas, which are loaded when needed.
    reloader.watch_dir(Path.cwd(), "**/*.py")
    return dict(reloader.snapshot_files())

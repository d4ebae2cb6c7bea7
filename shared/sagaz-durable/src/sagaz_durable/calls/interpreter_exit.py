"""Telling a step that failed from one that this process's own exit made fail."""

from __future__ import annotations

import threading

__all__ = ["caused_by_exit", "stops_the_process"]

_REFUSALS = frozenset(
    (
        "can't create new thread at interpreter shutdown",
        "cannot schedule new futures after interpreter shutdown",
    )
)
"""What Python says to whoever needs a thread while it exits: a name server to be asked, a file to be read."""


def stops_the_process(error: BaseException) -> bool:
    """Return whether an exception means that the process is to stop (Ctrl-C, gunicorn's abort), here in this thread.

    Only the main thread is told so. Anywhere else, an event loop's own thread included, it is what user code raised.
    """
    return isinstance(error, KeyboardInterrupt | SystemExit) and threading.current_thread() is threading.main_thread()


def caused_by_exit(error: BaseException) -> bool:
    """Return whether an exception, or one that it came from, is the interpreter's refusal of a thread at its exit."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, RuntimeError) and str(cause) in _REFUSALS:
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False

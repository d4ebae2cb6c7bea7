"""Telling a step that failed from one that this process's own exit made fail."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sagaz_durable.calls.foreign import chain, is_a
from sagaz_integration_core.error_text import message_text

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
    return is_a(error, KeyboardInterrupt, SystemExit) and threading.current_thread() is threading.main_thread()


def caused_by_exit(error: BaseException) -> bool:
    """Return whether an exception, or one that it groups or came from, is the refusal of a thread at the exit."""
    said = any(is_a(one, RuntimeError) and message_text(one) in _REFUSALS for one in chain(error))
    # Somebody else's process may have been told so, whose error was sent to a step.
    return said and _exits()


def _exits() -> bool:
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
    except RuntimeError:
        return True
    return False

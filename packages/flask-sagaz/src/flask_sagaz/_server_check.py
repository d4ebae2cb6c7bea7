"""Servers in which an event loop in a thread of its own cannot work: recognized, and refused with the way out."""

from __future__ import annotations

import sys

from sagaz_durable.concurrency.greenlets import refuse_greenlets
from sagaz_integration_core.errors import SettingsError

__all__ = ["check_server"]


def check_server() -> None:
    """See that this process can have a thread with an event loop.

    Raises:
        SettingsError: uWSGI runs without threads, or threads are greenlets by monkey-patching.
    """
    if _is_uwsgi_without_threads():
        raise SettingsError(
            "uWSGI runs without threads, so that sagas would never be executed. Set enable-threads = true "
            "(or threads = …) in its configuration."
        )
    refuse_greenlets()


def _is_uwsgi_without_threads() -> bool:
    # This module exists inside of uWSGI only; its options have keys of either kind.
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if options is None:
        return False
    given = {key.decode() if isinstance(key, bytes) else key for key in options}
    return given.isdisjoint(("enable-threads", "threads"))

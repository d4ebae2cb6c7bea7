"""Noticing that a step has changed its database session (search_path, role, time zone), which others are to use."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

__all__ = ["has_changed", "watch_this_thread"]

_CHANGE = re.compile(r"\s*(?:SET|RESET|USE|PRAGMA|ATTACH|DISCARD)\b(?!\s+(?:LOCAL|TRANSACTION|CONSTRAINTS)\b)", re.I)

_here = threading.local()


class _Watch:
    """One of Django's execute wrappers: sees every statement that goes through the connection's cursors."""

    def __init__(self) -> None:
        self.changed = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if not self.changed and isinstance(sql, str):
            # Anywhere in the statement, for that is a function; it is found faster than by the pattern.
            self.changed = _CHANGE.match(sql) is not None or "set_config" in sql
        return execute(sql, params, many, context)


def watch_this_thread() -> None:
    """Watch the connections that this thread opens from now on."""
    _here.watched = True


def has_changed(connection: Any) -> bool:
    """Whether the session of a watched connection is not any more as Django has set it up."""
    wrappers = connection.execute_wrappers
    return bool(wrappers) and isinstance(wrappers[0], _Watch) and wrappers[0].changed


def _on_connected(*, connection: Any, **_: Any) -> None:
    if not getattr(_here, "watched", False):
        return
    # What Django itself has set for this session came before.
    wrappers = connection.execute_wrappers
    if wrappers and isinstance(wrappers[0], _Watch):
        wrappers[0].changed = False
    else:
        wrappers.insert(0, _Watch())


connection_created.connect(_on_connected, dispatch_uid="django_sagaz._stores.session_state")

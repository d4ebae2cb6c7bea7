"""Telling why a run takes so long that a request waits for: its steps may be waiting for the request's transaction."""

from __future__ import annotations

import logging
from typing import Any

from flask import current_app, has_app_context

__all__ = ["OwnTransaction"]

logger = logging.getLogger(__name__)


class OwnTransaction:
    """Watches one call of `run_sync`.

    Args:
        saga: What is run, for the message.
    """

    def __init__(self, saga: object) -> None:
        self._saga = type(saga).__name__
        self._said: str | None = None

    def suspect(self) -> None:
        """Look whether the calling thread's session is in a transaction, because the run takes long, and log it."""
        if not _is_open():
            return
        self._said = (
            f"run_sync({self._saga}) waits for its steps, and db.session is in a transaction of this same thread: a "
            "step that needs a row which that transaction has changed waits for its end, which waits for the step. "
            "Commit before run_sync, or start the saga with the transaction: sagaz.start(…, session=db.session)."
        )
        logger.warning("%s", self._said)

    def explain(self, error: BaseException) -> None:
        """Add to an error what was suspected, if anything was."""
        if self._said is not None:
            error.add_note(self._said)


def _is_open() -> bool:
    """Whether Flask-SQLAlchemy's session of this thread and application is in a transaction."""
    database: Any = current_app.extensions.get("sqlalchemy") if has_app_context() else None
    sessions = getattr(database, "session", None)
    if sessions is None or not sessions.registry.has():
        return False
    return bool(sessions().in_transaction())

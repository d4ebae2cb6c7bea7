"""What both applications with transactional steps share: a killer at SQLAlchemy's statements, and how a run ends."""

from __future__ import annotations

import os
import signal
from typing import Any

from sqlalchemy import event

__all__ = ["END", "Killer"]

END = "run-1"
"""The saga_id of the only run."""


class Killer:
    """Kills its process at a point, counted from 1: before each statement, and before and after each commit.

    Args:
        at: 0 for never.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self.count = 0

    def watch(self, engine: Any) -> None:
        """Count what is done on an engine of SQLAlchemy."""
        for name in ("before_cursor_execute", "commit", "checkin"):
            event.listen(engine, name, self._point)

    def _point(self, *_: Any, **__: Any) -> None:
        self.count += 1
        if self.count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

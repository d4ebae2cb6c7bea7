"""Somebody who locks rows of running sagas for a while: a transaction that was left open."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import psycopg

__all__ = ["RowLocks"]

_ACTIVE = """
    SELECT saga_id FROM sagaz_run WHERE status IN ('executing', 'compensating')
    ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""


class RowLocks:
    """Locks one row after the other.

    Attributes:
        held: Which rows were locked, from when to when.
    """

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._dice = random.Random(f"locks {seed}")
        self.held: list[tuple[str, float, float]] = []

    def __call__(self, over: threading.Event) -> None:
        """Go on until the event is set, whatever becomes of the database."""
        while not over.wait(self._dice.uniform(0.2, 1)):
            with suppress(psycopg.OperationalError):
                self._lock_one(over)

    def _lock_one(self, over: threading.Event) -> None:
        with psycopg.connect(self._url, connect_timeout=2) as connection:
            row = connection.execute(_ACTIVE).fetchone()
            if row is None:
                return
            began = time.monotonic()
            over.wait(self._dice.uniform(0.5, 5))
            self.held.append((row[0], began, time.monotonic()))

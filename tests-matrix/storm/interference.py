"""What others do to the database during a storm: they lock rows of running sagas, and refuse writes to the journal."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import psycopg

__all__ = ["Interference"]

_ACTIVE = """
    SELECT saga_id FROM sagaz_run WHERE status IN ('executing', 'compensating')
    ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_REFUSE = """
    CREATE OR REPLACE FUNCTION storm_refuses() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'no writes, says the storm'; END $$;
    CREATE OR REPLACE TRIGGER storm_refuses BEFORE INSERT OR UPDATE ON sagaz_step
        FOR EACH ROW EXECUTE FUNCTION storm_refuses();
"""
_ALLOW = "DROP TRIGGER IF EXISTS storm_refuses ON sagaz_step"


class Interference:
    """A transaction that somebody has left open on one row after the other, and now and then a refusing trigger.

    Attributes:
        held: Which rows were locked, from when to when.
        refused: From when to when writes to the journal were refused.
    """

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._dice = random.Random(f"interference {seed}")
        self.held: list[tuple[str, float, float]] = []
        self.refused: list[tuple[float, float]] = []

    def __call__(self, over: threading.Event) -> None:
        """Go on until the event is set, whatever becomes of the database."""
        while not over.wait(self._dice.uniform(0.2, 1)):
            with suppress(psycopg.OperationalError):
                # A short storm may throw the dice too seldom: what follows the first lock is a refusal.
                refuses = self._dice.random() < 0.25 or (bool(self.held) and not self.refused)
                self._refuse_writes(over) if refuses else self._lock_one(over)
        self._allow_writes()

    def _lock_one(self, over: threading.Event) -> None:
        with psycopg.connect(self._url, connect_timeout=2) as connection:
            row = connection.execute(_ACTIVE).fetchone()
            if row is None:
                return
            began = time.monotonic()
            over.wait(self._dice.uniform(0.5, 5))
            self.held.append((row[0], began, time.monotonic()))

    def _refuse_writes(self, over: threading.Event) -> None:
        began = time.monotonic()
        try:
            with psycopg.connect(self._url, connect_timeout=2, autocommit=True) as connection:
                connection.execute(_REFUSE)
                over.wait(self._dice.uniform(0.3, 2))
        finally:
            self._allow_writes()
            self.refused.append((began, time.monotonic()))

    def _allow_writes(self) -> None:
        """Drop the trigger, also when the database has just crashed and is coming up again."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self._url, connect_timeout=2, autocommit=True) as connection:
                    connection.execute(_ALLOW)
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

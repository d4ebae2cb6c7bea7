"""What the tests of kills share: a ledger outside of the database, and processes that are killed at a commit."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing

from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step


def note(path, what, *more):
    """One line, written before anything else can happen; the ledger is outside the database."""
    step = current_step()
    line = json.dumps([what, step.step, step.phase, step.attempt, step.idempotency_key, *more])
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kill_here():
    os.kill(os.getpid(), signal.SIGKILL)


class KillingStore:
    """Kills its process at the n-th commit, before or after it."""

    def __init__(self, store, at):
        self._store, self._at, self._count = store, at, 0

    def __getattr__(self, name):
        attribute = getattr(self._store, name)
        if name not in ("insert", "write"):
            return attribute

        async def commit(*args):
            self._count += 1
            if self._at == (self._count, "before"):
                kill_here()
            answer = await attribute(*args)
            if self._at == (self._count, "after"):
                kill_here()
            return answer

        return commit


def settings_for(path):
    return Settings(storage_url=f"sqlite:///{path}", poll_seconds=0.02, backoff_seconds=0.01)


LEASES_END = (
    "UPDATE sagaz_run SET lease_expires_at = '2020-01-01T00:00:00.000000', available_at = '2020-01-01T00:00:00.000000'"
    " WHERE lease_owner IS NOT NULL"
)
"""What time would do after a death. A lease that is short enough to wait for ends under a process that is slow, too."""


def end_leases(path):
    """Have the leases of a process that was killed end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(LEASES_END)

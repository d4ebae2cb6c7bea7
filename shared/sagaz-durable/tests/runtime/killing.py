"""What the tests of kills share: a ledger outside of the database, and processes that are killed at a commit."""

from __future__ import annotations

import json
import os
import signal

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
    return Settings(
        storage_url=f"sqlite:///{path}", lease_seconds=1.0, renew_seconds=0.1, poll_seconds=0.02, backoff_seconds=0.01
    )

"""The ledger outside of the saga tables: one line per event, appended in one write, so that SIGKILL tears none."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Line", "append", "of_saga", "read"]


class Line(NamedTuple):
    """One event of one call of a step.

    Attributes:
        event: ``begin``, ``end``, ``failed`` (it raised, as planned), ``cancelled`` (its process gave it up), ``held``.
        at: CLOCK_MONOTONIC, which all processes of a Linux machine share.
    """

    event: str
    saga_id: str
    step: str
    phase: str
    attempt: int
    pid: int
    at: float
    key: str

    @property
    def call(self) -> tuple[str, str]:
        return self.step, self.phase


def append(path: Path, event: str) -> None:
    """Note an event of the step that is being called here."""
    from sagaz_integration_core.context.current_step import current_step

    step = current_step()
    line = Line(
        event, step.saga_id, step.step, step.phase, step.attempt, os.getpid(), time.monotonic(), step.idempotency_key
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Line]:
    """Return all lines, oldest first."""
    if not path.exists():
        return []
    # What is being written has no end yet.
    whole = [text for text in path.read_text().splitlines(keepends=True) if text.endswith("\n")]
    return sorted((Line(*json.loads(text)) for text in whole), key=lambda line: line.at)


def of_saga(lines: Iterable[Line], saga_id: str) -> list[Line]:
    """Return a run's lines."""
    return [line for line in lines if line.saga_id == saga_id]

"""``fastapi-sagaz worker``."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from benchmarks.contenders.worker._engine import fleet_of
from benchmarks.harness.model import Measure, Place


def contender(place: Place) -> AbstractContextManager[Measure]:
    """Measure it."""
    run = "from fastapi_sagaz.cli import main; main()"
    app = "benchmarks.programs.fastapi_app:app"
    return fleet_of(place, [sys.executable, "-c", run, "worker", app, "--concurrency", "50"])

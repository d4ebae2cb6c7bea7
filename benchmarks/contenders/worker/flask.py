"""``flask sagaz worker``."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from benchmarks.contenders.worker._engine import fleet_of
from benchmarks.harness.model import Measure, Place


def contender(place: Place) -> AbstractContextManager[Measure]:
    """Measure it."""
    app = ["--app", "benchmarks.programs.flask_app"]
    return fleet_of(place, [sys.executable, "-m", "flask", *app, "sagaz", "worker", "--concurrency", "50"])

"""From the start of a process to a worker's first line, or to the end of the imports that it cannot do without."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, set_up
from benchmarks.harness.model import Figures, Measure, Place
from benchmarks.harness.processes import ROOT, running, surroundings

_PYTHON = sys.executable
_FASTAPI = "from fastapi_sagaz.cli import main; main()"
_COMMANDS = {
    "fastapi": [_PYTHON, "-c", _FASTAPI, "worker", "benchmarks.programs.fastapi_app:app"],
    "django": [_PYTHON, "-m", "django", "sagaz_worker"],
    "flask": [_PYTHON, "-m", "flask", "--app", "benchmarks.programs.flask_app", "sagaz", "worker"],
    "floor of fastapi": [_PYTHON, "-c", "import sagaz, fastapi; fastapi.FastAPI(); print('ready')"],
    "floor of django": [
        _PYTHON,
        "-c",
        "import sagaz, django; django.setup(); from django.core.management import call_command; "
        "call_command('check'); print('ready')",
    ],
    "floor of flask": [_PYTHON, "-c", "import sagaz, flask, flask.cli; flask.Flask('shop'); print('ready')"],
}


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure the start of what the options name."""
    name = place.options["of"]
    apps = ["django_sagaz"] if name == "django" else []
    environment = {**django_environment(place.postgres, apps), "SAGAZ_STORAGE_URL": place.postgres}
    if name == "django":
        set_up(environment)
    elif not name.startswith("floor"):
        migrated = {**surroundings(), **environment}
        command = [_PYTHON, "-c", _FASTAPI, "migrate", "benchmarks.programs.fastapi_app:app"]
        subprocess.run(command, cwd=ROOT, env=migrated, check=True)

    def once() -> float:
        began = time.perf_counter()
        with running(_COMMANDS[name], place.folder / "started.log", environment, pipes=True) as process:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"{' '.join(_COMMANDS[name])} ended without a word.")
            return (time.perf_counter() - began) * 1e3

    def measure(size: int) -> Figures:
        return {"start": statistics.median(once() for _ in range(size))}

    once()
    yield measure

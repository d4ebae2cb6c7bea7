"""What a plugin adds to its framework's own import, and to that of a wired application; nothing is started."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment
from benchmarks.harness.model import Figures, Measure, Place
from benchmarks.harness.processes import ROOT, surroundings

# Imports framework and plugin, and wires; each in one line.
_CODE = {
    "fastapi": (
        "import fastapi",
        "import fastapi_sagaz",
        "fastapi.FastAPI(lifespan=fastapi_sagaz.create_lifespan()).add_middleware(fastapi_sagaz.SagaContextMiddleware)",
    ),
    "flask": ("import flask", "import flask_sagaz", "flask_sagaz.SagazExtension(flask.Flask('shop'))"),
    "django": (
        "import django; from django.apps import AppConfig, apps; django.setup()",
        "import django_sagaz",
        "app = AppConfig.create('django_sagaz'); app.apps = apps; apps.app_configs[app.label] = app; "
        "app.import_models(); app.ready()",
    ),
    "sagaz": ("", "import sagaz", ""),
    "sagaz.integrations.fastapi": ("import fastapi", "import sagaz.integrations.fastapi", ""),
}
_TIMED = """
import time
{framework}
began = time.perf_counter()
{plugin}
imported = time.perf_counter()
{wire}
print((imported - began) * 1e3, (time.perf_counter() - began) * 1e3)
"""


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure what the options name."""
    framework, plugin, wire = _CODE[place.options["of"]]
    code = _TIMED.format(framework=framework, plugin=plugin, wire=wire)
    # Of Django, Django's own applications are in both.
    environment = django_environment("sqlite://", ["django.contrib.auth", "django.contrib.admin"])

    def once() -> tuple[float, ...]:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env={**surroundings(), **environment}, capture_output=True, check=True)
        return tuple(map(float, done.stdout.split()))

    def measure(size: int) -> Figures:
        imported, wired = zip(*(once() for _ in range(size)), strict=True)
        return {"import": statistics.median(imported), "import and wiring": statistics.median(wired)}

    # Compiles what has not been.
    once()
    yield measure

"""What a reader must know of the machine before comparing its figures with another one's."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.harness.processes import ROOT

__all__ = ["facts", "versions"]

_PACKAGES = (
    "sagaz-integration-core", "sagaz-durable",
    "fastapi-sagaz", "django-sagaz", "flask-sagaz", "sagaz", "fastapi", "starlette", "django",
    "flask", "sqlalchemy", "psycopg", "asyncpg", "procrastinate", "dbos", "celery", "redis", "django-tasks",
    "django-tasks-db", "asgi-correlation-id", "starlette-context", "django-guid",
)  # fmt: skip


def facts(folder: Path, postgres: dict[str, str], redis: str) -> dict[str, str]:
    """Describe the machine, the servers and the moment.

    Args:
        folder: Where the servers keep their data.
        postgres: What the server says of its settings.
        redis: Why there is none, or "".
    """
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cores": str(os.cpu_count()),
        "processor": ", ".join(sorted(names)) or platform.processor() or platform.machine(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "postgresql": ", ".join(f"{name} = {value}" for name, value in postgres.items()),
        "redis": redis or "appendonly = yes, appendfsync as its contenders say",
        "fdatasync of 8 kB": f"{_sync_microseconds(folder):.0f} µs (median)",
    }


def versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _commit() -> str:
    # But for the report, which the jobs before this one may have changed.
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/report")
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _sync_microseconds(folder: Path) -> float:
    # What a commit costs here at the least, and whether this disk keeps anything at all.
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        samples = []
        for _ in range(100):
            os.pwrite(file.fileno(), os.urandom(8192), 0)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            samples.append((time.perf_counter() - began) * 1e6)
    return statistics.median(samples)

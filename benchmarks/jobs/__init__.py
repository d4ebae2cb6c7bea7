"""The jobs, in the order of the report."""

from __future__ import annotations

from benchmarks.jobs import growth, imports, inline, latency, middleware, start
from benchmarks.jobs.worker_throughput import JOB as WORKER_THROUGHPUT

__all__ = ["JOBS"]

JOBS = (
    WORKER_THROUGHPUT,
    latency.JOB,
    latency.SIGNALS,
    start.DJANGO_POSTGRES,
    start.DJANGO_SQLITE,
    start.SQLALCHEMY_POSTGRES,
    start.SQLALCHEMY_SQLITE,
    *middleware.JOBS,
    inline.MEMORY,
    inline.ON_POSTGRES,
    growth.TABLES,
    growth.MEMORY,
    growth.STEPS,
    growth.TIMERS,
    imports.WIRING,
    imports.STARTUP,
)

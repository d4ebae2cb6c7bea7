"""The jobs, in the order of the report."""

from __future__ import annotations

from benchmarks.jobs.worker_throughput import JOB as WORKER_THROUGHPUT

__all__ = ["JOBS"]

JOBS = (WORKER_THROUGHPUT,)

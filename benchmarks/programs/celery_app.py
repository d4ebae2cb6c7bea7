"""A Celery application with a task of three steps, and no results, as is documented for many short tasks."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.ledger import began, ended

app = Celery("benchmark", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
)


@app.task(name="noop")
def noop(n: int) -> None:
    """Make three calls."""
    _reserve(n)
    _charge()
    _ship(n)


def _reserve(n: int) -> dict[str, int]:
    began(n)
    return {"reservation": 1}


def _charge() -> dict[str, int]:
    return {"charge": 2}


def _ship(n: int) -> dict[str, int]:
    ended(n)
    return {"parcel": 3}

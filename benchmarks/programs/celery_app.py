"""A Celery application with a task of three steps, and no results, as is documented for many short tasks."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.programs.three_calls import three_calls

app = Celery("benchmark", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_send_task_events=False,
)

noop = app.task(name="noop")(three_calls)

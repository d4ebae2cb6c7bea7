"""A procrastinate application with a task of three steps."""

from __future__ import annotations

import os

import procrastinate

from benchmarks.programs.three_calls import three_awaited_calls

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))
noop = app.task(name="noop")(three_awaited_calls)

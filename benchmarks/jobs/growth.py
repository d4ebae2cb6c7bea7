"""What becomes of speed, memory and bytes as time goes by."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["MEMORY", "STEPS", "TABLES", "TIMERS"]

_EMPTY = "empty tables"
_FULL = "1,000,000 finished and 100,000 pending"
_UNKNOWN = "100,000 due of an unknown saga"
_LOCKED = "a locked row"
_WAITING = "100,000 waiting"
_QUIET = "nothing else"
_TIMERS = "10,000 timers due at once"

TABLES = Job(
    name="growth-tables",
    number="6a",
    title="Throughput on full tables",
    what=(
        "One `fastapi-sagaz worker` of concurrency 50, on tables that hold only what it is to execute, and on tables "
        "that hold a million runs that have finished, with the journals of their three steps, and a hundred thousand "
        "that are due; a hundred thousand that are due of a saga which this worker does not know; one due run more, "
        "whose row another transaction has locked; or a hundred thousand that wait for signals, half of them until a "
        "time. (A quick run has a twentieth of the rows.)"
    ),
    contenders=(
        Contender(_EMPTY, "growth.tables", needs=POSTGRES),
        Contender(_FULL, "growth.tables", needs=POSTGRES, options={"finished": 1_000_000, "pending": 100_000}),
        Contender(_UNKNOWN, "growth.tables", needs=POSTGRES, options={"unknown": 100_000}),
        Contender(_LOCKED, "growth.tables", needs=POSTGRES, options={"locked": True}),
        Contender(_WAITING, "growth.tables", needs=POSTGRES, options={"waiting": 100_000}),
    ),
    metrics=(Metric("throughput", "runs/s", "more"),),
    targets=(
        Target(
            "growth.tables",
            "full tables to empty ones",
            (_FULL, "throughput"),
            (_EMPTY, "throughput"),
            at_least=0.8,
        ),
        Target(
            "growth.unknown",
            "with another service's due runs to empty ones",
            (_UNKNOWN, "throughput"),
            (_EMPTY, "throughput"),
            at_least=0.95,
        ),
        Target(
            "growth.locked",
            "with a locked row to empty ones",
            (_LOCKED, "throughput"),
            (_EMPTY, "throughput"),
            at_least=0.95,
        ),
        Target(
            "growth.waiting",
            "with runs that wait to empty ones",
            (_WAITING, "throughput"),
            (_EMPTY, "throughput"),
            at_least=0.95,
        ),
    ),
    size=(12_000, 1500),
    rounds=(5, 2),
    baseline=_EMPTY,
)

MEMORY = Job(
    name="growth-memory",
    number="6b",
    title="Memory over a hundred thousand runs",
    what=(
        "The resident memory of a process on PostgreSQL: of a worker that executes run after run, and of a FastAPI "
        "application of which 50 clients at once request runs inline. After a tenth of the runs, and after all of them."
    ),
    contenders=(
        Contender("worker", "growth.memory", needs=POSTGRES, options={"of": "worker"}),
        Contender("web process", "growth.memory", needs=POSTGRES, options={"of": "web"}),
    ),
    metrics=(Metric("after a tenth", "MB", "less", 1), Metric("after all", "MB", "less", 1)),
    targets=tuple(
        Target(
            f"growth.memory.{name.partition(' ')[0]}",
            f"{name}: all to a tenth",
            (name, "after all"),
            (name, "after a tenth"),
            at_most=1.05,
        )
        for name in ("worker", "web process")
    ),
    size=(100_000, 5000),
    rounds=(1, 1),
    baseline="worker",
)

STEPS = Job(
    name="growth-steps",
    number="6c",
    title="Bytes written for a saga of many steps",
    what=(
        "A saga whose steps add 10 kB each to its context, inline on PostgreSQL: what it writes to the write-ahead "
        "log, and how long it takes, for each of its steps. With the whole context in each write, bytes would grow "
        "with the square of the steps; in proportion to the steps, they stay what they are for each."
    ),
    contenders=tuple(
        Contender(f"{steps} steps", "growth.steps", needs=POSTGRES, options={"steps": steps})
        for steps in (125, 250, 500)
    ),
    metrics=(Metric("written per step", "kB", "less", 1), Metric("time per step", "ms", "less", 2)),
    targets=(
        Target(
            "growth.steps",
            "written for each of 500 steps to each of 125",
            ("500 steps", "written per step"),
            ("125 steps", "written per step"),
            at_most=1.1,
        ),
    ),
    size=(2, 1),
    rounds=(3, 1),
    baseline="125 steps",
)

TIMERS = Job(
    name="timers",
    number="6d",
    title="From the commit to the first step, while timers wake up",
    what=(
        "New runs, each started in a transaction of its own, on one warm `fastapi-sagaz worker` of concurrency 50 that "
        "has nothing else to do; and on one that has ten thousand runs of another saga, which have slept until the "
        "same moment and have two steps to go. From the moment at which the commit was answered to the first step's."
    ),
    contenders=tuple(
        Contender(name, "growth.timers", needs=POSTGRES, options={"latency": True, "pause": 0.02, "timers": timers})
        for name, timers in ((_QUIET, 0), (_TIMERS, 10_000))
    ),
    metrics=(Metric("p50", "ms", "less", 2), Metric("p99", "ms", "less", 2)),
    targets=(Target("timers.p99", f"p99 beside {_TIMERS} to {_QUIET}", (_TIMERS, "p99"), (_QUIET, "p99"), at_most=3),),
    size=(150, 60),
    rounds=(5, 2),
    baseline=_QUIET,
)

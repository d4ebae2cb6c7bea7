"""How soon after a commit a worker calls the first step, or the one that waited."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["JOB", "SIGNALS"]

_LATENCY = {"latency": True}


def _targets() -> tuple[Target, ...]:
    found = []
    for name in ("fastapi-sagaz", "django-sagaz"):
        for peer, p50, p99 in (("floor", 2, 3), ("procrastinate", 1, 1)):
            for metric, bound in (("p50", p50), ("p99", p99)):
                target = f"latency.{name}.{peer}.{metric}"
                found.append(
                    Target(target, f"{name} to {peer}, {metric}", (name, metric), (peer, metric), at_most=bound)
                )
    return tuple(found)


JOB = Job(
    name="latency",
    number="2",
    title="From the commit to the first step",
    what=(
        "Twenty starts a second, each in a transaction of its own, while one warm worker waits. From the moment at "
        "which the commit was answered to the first step's. Ours journal, durably, that it begins before they call it."
    ),
    contenders=(
        Contender("floor", "worker.floor", "journal, lease", POSTGRES, _LATENCY),
        Contender("fastapi-sagaz", "worker.fastapi", needs=POSTGRES, options=_LATENCY),
        Contender("django-sagaz", "worker.django", needs=POSTGRES, options=_LATENCY),
        Contender("procrastinate", "worker.procrastinate", "journal steps, compensate", POSTGRES, _LATENCY),
        Contender(
            "sagaz's OutboxWorker",
            "worker.outbox",
            "execute sagas, journal steps, compensate, wake the worker (it polls every 10 ms)",
            POSTGRES,
            {**_LATENCY, "poll": 0.01},
        ),
        Contender(
            "DBOS",
            "worker.dbos",
            "compensate, wake the worker (it polls every 10 ms)",
            POSTGRES,
            {**_LATENCY, "poll": 0.01},
        ),
        Contender(
            "Celery, fsync each second",
            "worker.celery",
            "journal steps, compensate, keep any state, start with your transaction",
            ("redis",),
            {**_LATENCY, "appendfsync": "everysec"},
        ),
        Contender(
            "django-tasks",
            "worker.django_tasks",
            "journal steps, compensate, wake the worker (it polls every 10 ms)",
            POSTGRES,
            _LATENCY,
        ),
        Contender(
            "django-ox",
            "worker.django_ox",
            "journal steps, compensate, wake the worker (it polls every 10 ms)",
            POSTGRES,
            _LATENCY,
        ),
        Contender(
            "django-absurd",
            "worker.django_absurd",
            "compensate, wake the worker (it polls every 10 ms)",
            POSTGRES,
            _LATENCY,
        ),
    ),
    metrics=(Metric("p50", "ms", "less", 2), Metric("p99", "ms", "less", 2)),
    targets=_targets(),
    size=(150, 40),
    rounds=(4, 2),
    baseline="floor",
)

_SIGNALS = {**_LATENCY, "signals": True}

SIGNALS = Job(
    name="signals",
    number="2b",
    title="From the commit of a signal to the step that waits for it",
    what=(
        "Twenty signals a second, by business key, each in a transaction of its own, to runs that wait, while one warm "
        "worker has nothing to do. From the moment at which the commit was answered to that at which the step has the "
        "signal. The floor is that of job 2: a start, and its first step."
    ),
    contenders=(
        Contender("floor", "worker.floor", "wait for a signal, journal, lease", POSTGRES, _LATENCY),
        Contender("fastapi-sagaz", "worker.fastapi", needs=POSTGRES, options=_SIGNALS),
        Contender("django-sagaz", "worker.django", needs=POSTGRES, options=_SIGNALS),
    ),
    metrics=(Metric("p50", "ms", "less", 2), Metric("p99", "ms", "less", 2)),
    targets=tuple(
        Target(f"signals.{name}", f"{name} to floor, p50", (name, "p50"), ("floor", "p50"), at_most=2)
        for name in ("fastapi-sagaz", "django-sagaz")
    ),
    size=(150, 40),
    rounds=(4, 2),
    baseline="floor",
)

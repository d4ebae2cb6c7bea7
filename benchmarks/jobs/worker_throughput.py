"""How many sagas a worker executes."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["JOB"]

_OURS = ("fastapi-sagaz", "django-sagaz")


def _targets() -> tuple[Target, ...]:
    found = []
    for name, floor in zip(_OURS, (0.70, 0.70), strict=True):
        for peer, least in (("floor", floor), ("procrastinate", 3), ("DBOS", 15), ("Celery, fsync each second", 1.5)):
            text = f"{name} to {peer}" + (" (claims 50, stores only the end)" if peer == "floor" else "")
            target = Target(
                f"worker.{name}.{peer.partition(',')[0].lower()}",
                text,
                (name, "throughput"),
                (peer, "throughput"),
                at_least=least,
            )
            found.append(target)
        text = f"{name}: two processes to one"
        found.append(
            Target(
                f"worker.{name}.second",
                text,
                (f"{name}, 2 processes", "throughput"),
                (name, "throughput"),
                at_least=1.6,
            )
        )
    return tuple(found)


JOB = Job(
    name="worker",
    number="1",
    title="Worker throughput",
    what=(
        "A backlog of sagas of three steps that do nothing is committed at once, while one warm worker waits that "
        "executes 50 at a time. From the first step of the first to the last step of the last. What ours promise to "
        "store (every step, durably) is counted after each round. Peers get a task of three calls, or their own kind "
        "of steps."
    ),
    contenders=(
        Contender(
            "floor", "worker.floor", "journal, keep the context, lease: what it executes when it dies is lost", POSTGRES
        ),
        # Next to the floor: no machine is equally fast for minutes at a time.
        Contender("fastapi-sagaz", "worker.fastapi", needs=POSTGRES),
        Contender("django-sagaz", "worker.django", needs=POSTGRES),
        Contender("django-sagaz, 2 processes", "worker.django", needs=POSTGRES, options={"processes": 2}),
        Contender("fastapi-sagaz, 2 processes", "worker.fastapi", needs=POSTGRES, options={"processes": 2}),
        Contender("flask-sagaz", "worker.flask", needs=POSTGRES),
        Contender(
            "fastapi-sagaz, metrics and log lines on", "worker.fastapi", needs=POSTGRES, options={"defaults": True}
        ),
        Contender(
            "fastapi-sagaz, leases renewed each 0.1 s, not each 10 s",
            "worker.fastapi",
            needs=POSTGRES,
            options={"environment": {"SAGAZ_LEASE_SECONDS": "1", "SAGAZ_RENEW_SECONDS": "0.1"}},
        ),
        Contender(
            "bare floor",
            "worker.floor",
            "know sagas (a run is three awaited calls), journal, keep the context, lease",
            POSTGRES,
            {"bare": True},
        ),
        Contender("procrastinate", "worker.procrastinate", "journal steps, compensate", POSTGRES, scale=0.25),
        Contender(
            "sagaz's OutboxWorker",
            "worker.outbox",
            "execute sagas (it publishes events, here to what makes three calls), journal steps, compensate",
            POSTGRES,
            {"poll": 0.01},
            scale=0.25,
        ),
        Contender("DBOS", "worker.dbos", "compensate", POSTGRES, {"poll": 0.01}, scale=0.06),
        Contender(
            "Celery, fsync each second",
            "worker.celery",
            "journal steps, compensate, keep any state; the task that a dying process has is lost, and so is the last "
            "second of Redis; no transaction with the database",
            ("redis",),
            {"appendfsync": "everysec"},
            scale=0.6,
        ),
        Contender(
            "Celery, fsync always",
            "worker.celery",
            "journal steps, compensate, keep any state; the task that a dying process has is lost; no transaction with "
            "the database",
            ("redis",),
            {"appendfsync": "always"},
            scale=0.06,
        ),
        Contender(
            "django-tasks", "worker.django_tasks", "journal steps, compensate, execute several at a time", POSTGRES,
            scale=0.1,
        ),
        Contender(
            "django-ox", "worker.django_ox", "journal steps, compensate (eight threads)", POSTGRES, scale=0.1
        ),
        Contender("django-absurd", "worker.django_absurd", "compensate", POSTGRES, scale=0.1),
    ),
    metrics=(Metric("throughput", "runs/s", "more"),),
    targets=_targets(),
    size=(4000, 1500),
    rounds=(5, 2),
    baseline="floor",
)  # fmt: skip

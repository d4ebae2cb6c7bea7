"""What a saga costs that runs within a synchronous request."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["MEMORY", "ON_POSTGRES"]

_METRICS = (Metric("per call", "µs", "less"),)
_WHAT = (
    "Eight threads run a saga of three steps that do nothing, each call within its request, and wait for its end. The "
    "time that all of them take, divided by their calls. The floor is plain sagaz on one long-lived event loop in a "
    "thread, {storage}."
)


def _targets(job: str, floor: str, bound: float) -> tuple[Target, ...]:
    return tuple(
        Target(f"{job}.{name}", f"{name} to {floor}", (name, "per call"), (floor, "per call"), at_most=bound)
        for name in ("flask-sagaz", "django-sagaz")
    )


MEMORY = Job(
    name="inline-memory",
    number="5a",
    title="Inline run from synchronous code, on memory",
    what=_WHAT.format(storage="which keeps a copy of each saga in memory"),
    contenders=(
        Contender("sagaz on a loop thread", "inline.sagaz", "journal steps, check contexts, bound what it keeps"),
        Contender("sagaz's run_saga_sync", "inline.sagaz", "as above", options={"per_call": True}),
        Contender("flask-sagaz", "inline.flask"),
        Contender("django-sagaz", "inline.django"),
        Contender("sagaz on a loop thread, as it comes", "inline.sagaz", "as above", options={"defaults": True}),
        Contender("flask-sagaz, as it comes", "inline.flask", options={"defaults": True}),
        Contender("django-sagaz, as it comes", "inline.django", options={"defaults": True}),
    ),
    metrics=_METRICS,
    targets=_targets("inline-memory", "sagaz on a loop thread", 1.2),
    size=(800, 240),
    rounds=(9, 3),
    baseline="sagaz on a loop thread",
)

ON_POSTGRES = Job(
    name="inline-postgres",
    number="5b",
    title="Inline run from synchronous code, on PostgreSQL",
    what=_WHAT.format(storage="with its own PostgreSQL storage, which writes the start and the end"),
    contenders=(
        Contender("sagaz on a loop thread", "inline.sagaz", "journal steps, check contexts, resume", POSTGRES),
        Contender("flask-sagaz", "inline.flask", needs=POSTGRES),
        Contender("django-sagaz", "inline.django", needs=POSTGRES),
        Contender("DBOS", "inline.dbos", "compensate", POSTGRES, scale=0.3),
    ),
    metrics=_METRICS,
    targets=_targets("inline-postgres", "sagaz on a loop thread", 2),
    size=(800, 240),
    rounds=(9, 3),
    baseline="sagaz on a loop thread",
)

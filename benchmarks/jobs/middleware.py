"""What a correlation id for each request costs."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness.model import Contender, Job, Metric, Target

__all__ = ["JOBS"]

_METRICS = (Metric("with an id", "µs", "less", 1), Metric("without an id", "µs", "less", 1))
_WHAT = (
    "Requests to a page that says ok, with the middleware and without it, in blocks of fifty that alternate in one "
    "process: the difference per request, in the processor's time. With an id that the client has sent, and without "
    "one. Ours checks the id, binds it to the logs and to the sagas that the request starts, sends it back, and resets "
    "it. {more}"
)
_NO_LOGS = "bind the logs, reset"


def _job(
    number: str,
    name: str,
    framework: str,
    contenders: tuple[Contender, ...],
    bounds: Mapping[str, float],
    more: str = "",
) -> Job:
    ours = contenders[1].name
    targets = tuple(
        Target(
            f"middleware-{name}.{peer}.{metric.name.partition(' ')[0]}",
            f"{ours} to {peer}, {metric.name}",
            (ours, metric.name),
            (peer, metric.name),
            at_most=bound,
        )
        for peer, bound in bounds.items()
        for metric in _METRICS
    )
    return Job(
        name=f"middleware-{name}",
        number=number,
        title=f"Middleware in {framework}",
        what=_WHAT.format(more=more).strip(),
        contenders=contenders,
        metrics=_METRICS,
        targets=targets,
        size=(80, 20),
        rounds=(9, 3),
        baseline="by hand",
    )


def _asgi(number: str, framework: str) -> Job:
    def entrant(name: str, middleware: str, lacks: str = "") -> Contender:
        return Contender(name, "middleware.asgi", lacks, (), {"framework": framework.lower(), "middleware": middleware})

    return _job(
        number,
        framework.lower(),
        framework,
        (
            entrant("by hand", "hand", f"check the id, {_NO_LOGS}"),
            entrant("fastapi-sagaz", "ours"),
            entrant("asgi-correlation-id", "asgi-correlation-id", "bind the logs without a filter of yours, reset"),
            entrant("starlette-context", "starlette-context", "bind the logs"),
        ),
        {"asgi-correlation-id": 1},
    )


def _django(number: str, asgi: bool) -> Job:
    def entrant(name: str, middleware: str, lacks: str = "") -> Contender:
        return Contender(name, "middleware.django", lacks, (), {"asgi": asgi, "middleware": middleware})

    common = (
        entrant("by hand", "hand", f"check the id, {_NO_LOGS}"),
        entrant("django-sagaz", "ours"),
        entrant("django-guid", "django-guid", "bind the logs without a filter of yours"),
    )
    if asgi:
        more = "Of the handler's chain of middleware and view: what Django does around it under ASGI costs far more."
        return _job(number, "django-asgi", "Django under ASGI", common, {"django-guid": 0.6}, more)
    sagaz = entrant("sagaz's own", "sagaz", "check the id, bind the logs, restore what was bound before")
    return _job(number, "django-wsgi", "Django under WSGI", (*common, sagaz), {"sagaz's own": 1})


def _flask(number: str) -> Job:
    def entrant(name: str, middleware: str, lacks: str = "") -> Contender:
        return Contender(name, "middleware.flask", lacks, (), {"middleware": middleware})

    contenders = (
        entrant("by hand", "hand", f"check the id, {_NO_LOGS}"),
        entrant("flask-sagaz", "ours"),
        entrant("sagaz's own", "sagaz", "send the id back, check it, bind the logs, reset"),
    )
    return _job(number, "flask", "Flask", contenders, {"sagaz's own": 0.8})


JOBS = (
    _asgi("4a", "Starlette"),
    _asgi("4b", "FastAPI"),
    _django("4c", asgi=False),
    _django("4d", asgi=True),
    _flask("4e"),
)

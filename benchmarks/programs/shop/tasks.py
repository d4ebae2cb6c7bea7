"""A task of three steps, for django-tasks; imported only where that is installed."""

from __future__ import annotations

from django_tasks import task

from benchmarks.programs.three_calls import three_calls


# django-tasks finds a task by its function's module and name.
@task()
def noop(n: int) -> None:
    """Make three calls."""
    three_calls(n)


@task()
def quiet(order: dict[str, object]) -> None:
    """Do nothing."""

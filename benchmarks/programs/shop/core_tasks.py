"""Tasks of three calls for Django's own tasks, which exist since Django 6.0."""

from __future__ import annotations

from django.tasks import task

from benchmarks.programs.three_calls import three_calls


@task()
def noop(n: int) -> None:
    """Make three calls."""
    three_calls(n)

"""Django set up in a contender's process, as in those that it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["django_environment", "enqueuer", "set_up"]


def django_environment(
    database: str,
    apps: Sequence[str] = (),
    sagaz: Mapping[str, object] | None = None,
    tasks: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Return the environment in which ``django_settings`` describe this project.

    Args:
        database: A URL.
        apps: To be installed besides the shop.
        sagaz: ``settings.SAGAZ``.
        tasks: ``settings.TASKS["default"]``.
    """
    return {
        "DJANGO_SETTINGS_MODULE": "benchmarks.programs.django_settings",
        "BENCH_DATABASE": database,
        "BENCH_DJANGO_APPS": json.dumps(list(apps)),
        "BENCH_SAGAZ": json.dumps(dict(sagaz or {})),
        "BENCH_TASKS": json.dumps({"default": dict(tasks)} if tasks else {}),
    }


def set_up(environment: Mapping[str, str], *, migrate: bool = True) -> None:
    """Set Django up in this process, and make the tables."""
    os.environ.update(environment)
    import django
    from django.core.management import call_command

    django.setup()
    if migrate:
        call_command("migrate", verbosity=0)


def enqueuer(task: Any) -> Callable[[Iterable[int]], None]:
    """Return what enqueues a task of Django's, or of its backport, once for each run, all in one transaction."""
    from django.db import transaction

    def enqueue(runs: Iterable[int]) -> None:
        with transaction.atomic():
            for n in runs:
                task.enqueue(n)

    return enqueue

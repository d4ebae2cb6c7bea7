"""What the worker command does, beneath its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from django_sagaz._execution.executions import Executions
from django_sagaz._execution.shared_loop import threaded_runtime
from django_sagaz._project.project import Project
from sagaz_durable.cli import worker as working
from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["CHANGEABLE", "changed", "drain_here", "work"]

CHANGEABLE = {
    "lease_seconds": "How long a run belongs to a process that gives no sign of life",
    "renew_seconds": "How often a process gives that sign",
    "poll_seconds": "How often to look for runs that no wake-up told of",
    "drain_seconds": "How long running sagas may go on after SIGTERM",
}
"""The settings that are options of the command too."""


def changed(project: Project, options: Mapping[str, Any]) -> Project:
    """Return the project as the command's options have it.

    Raises:
        SettingsError: An option is out of its range, or names no database.
    """
    values = {name: options[name] for name in CHANGEABLE if options[name] is not None}
    return project.changed(alias=options["database"], **values)


async def work(
    project: Project,
    *,
    concurrency: int | None,
    drain: bool,
    tell: Callable[[str], None] | None,
    heartbeat_file: str | None = None,
) -> Counter[str]:
    """Run a worker until a signal stops it, or with ``drain`` until nothing is due; return how runs ended.

    Args:
        tell: Prints a line; None for a command that is to be silent.

    Raises:
        StoreUnavailable: The database cannot be reached, or is not migrated.
    """
    runtime = threaded_runtime(project, listen=not drain)
    await runtime.open()
    try:
        # Django connects when something is asked; a worker that can do nothing is to say so now, and end.
        await runtime.store.check_ready()
        # Each step is called in this scope. That it is there already for all of them saves them the entering.
        with runtime.step_scope():
            return await working.work(
                runtime,
                concurrency=concurrency,
                drain=drain,
                tell=tell,
                place=project.place,
                heartbeat_file=heartbeat_file,
            )
    finally:
        await runtime.close()


def drain_here(project: Project, concurrency: int | None) -> Counter[str]:
    """Execute what is due on this thread and its connection, as a ``TestCase`` needs it."""

    async def drain(runtime: SagazRuntime) -> Counter[str]:
        worker = runtime.make_worker(concurrency=concurrency, drain=True)
        await worker.run()
        return worker.ended

    executions = Executions(project)
    try:
        return executions.run(drain)
    finally:
        executions.close()

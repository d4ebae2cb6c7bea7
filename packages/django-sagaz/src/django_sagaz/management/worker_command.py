"""What ``manage.py sagaz_worker`` does besides what the others share: it stays, and starts anew when code changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext
from functools import partial
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandError

from django_sagaz._execution.worker import CHANGEABLE, changed, drain_here, work
from django_sagaz._project.current import current_project
from django_sagaz._project.project import Project
from django_sagaz.management.operator_command import ProjectCommand
from django_sagaz.management.reloading import run_with_reloader
from sagaz_durable.cli.command import Option, Values
from sagaz_durable.cli.failures import failure_text
from sagaz_durable.cli.said import Said
from sagaz_durable.cli.worker import logging_to_stderr
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.errors import SettingsError

__all__ = ["WorkerCommand"]


class WorkerCommand(ProjectCommand):
    """Claims due runs and executes them, until it is stopped."""

    options = (
        Option("--autoreload", "Start anew when code changes; needs DEBUG.", default=False),
        *(
            Option(f"--{name.replace('_', '-')}", f"{meaning}; by default {{{name}}}.", "SECONDS", number=name)
            for name, meaning in CHANGEABLE.items()
        ),
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Work, in a process that is started anew when code changes, if that was asked for."""
        if not options["autoreload"]:
            super().handle(*args, **options)
            return
        if not django_settings.DEBUG:
            error = SettingsError("--autoreload is for development, and DEBUG is off. Leave it out.")
            raise CommandError(failure_text(error))
        run_with_reloader(partial(super().handle, *args, **options), tell=self._tell)

    def work(self, given: Values, options: dict[str, Any]) -> Said:
        """Work until a signal, or with ``--drain`` until nothing is due."""
        silent = options["verbosity"] == 0
        ended = self._run(changed(current_project(), options), given, silent=silent)
        return Said(f"Ended: {summary(ended)}.")

    def _run(self, project: Project, given: Values, *, silent: bool) -> Counter[str]:
        concurrency, drain = given["concurrency"], given["drain"]
        if drain and project.is_private:
            return drain_here(project, concurrency)
        with nullcontext() if silent else logging_to_stderr():
            return asyncio.run(
                work(
                    project,
                    concurrency=concurrency,
                    drain=drain,
                    tell=None if silent else self._tell,
                    heartbeat_file=given["heartbeat_file"],
                )
            )

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        # Into a pipe, which a container's log is, it would come at the end.
        self.stdout.flush()

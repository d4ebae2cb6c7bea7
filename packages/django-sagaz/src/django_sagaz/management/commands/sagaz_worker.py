"""``manage.py sagaz_worker``: runs what was started, and resumes what other processes left."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_sagaz._execution.worker import OPTIONS, changed, drain_here, work
from django_sagaz._project.current import current_project
from django_sagaz._project.project import Project
from django_sagaz.management.operator_command import number
from django_sagaz.management.reloading import run_with_reloader
from sagaz_durable.cli.worker import logging_to_stderr
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.error_text import visible_lines
from sagaz_integration_core.errors import SagazError

__all__ = ["Command"]


class Command(BaseCommand):
    """Claims due runs and executes them, until it is stopped."""

    help = "Run sagas that were started for later, and resume those whose process died."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--concurrency", type=number("concurrency"), help="how many runs at once (SAGAZ['CONCURRENCY'])"
        )
        parser.add_argument("--drain", action="store_true", help="end when nothing is due")
        parser.add_argument("--database", help="the database alias that runs are kept in (SAGAZ['DATABASE'])")
        parser.add_argument(
            "--heartbeat-file",
            metavar="PATH",
            help="write this file every 5 s: 'ready', or why not; for probes that start no interpreter",
        )
        parser.add_argument("--autoreload", action="store_true", help="start anew when code changes; needs DEBUG")
        for name, meaning in OPTIONS.items():
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=float, metavar="SECONDS", help=f"{meaning} (SAGAZ['{name.upper()}'])")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work."""
        if not options["autoreload"]:
            self._work(options)
            return
        if not django_settings.DEBUG:
            raise CommandError("--autoreload is for development, and DEBUG is off. Leave it out.")
        run_with_reloader(self._work, options, tell=self._tell)

    def _work(self, options: dict[str, Any]) -> None:
        try:
            ended = self._run(changed(current_project(), options), options)
        except SagazError as error:
            raise CommandError(visible_lines(str(error))) from error
        if options["verbosity"] > 0:
            self.stdout.write(f"Ended: {summary(ended)}.")

    def _run(self, project: Project, options: dict[str, Any]) -> Counter[str]:
        concurrency, drain = options["concurrency"], options["drain"]
        if drain and project.is_private:
            return drain_here(project, concurrency)
        silent = options["verbosity"] == 0
        with nullcontext() if silent else logging_to_stderr():
            return asyncio.run(
                work(
                    project,
                    concurrency=concurrency,
                    drain=drain,
                    tell=None if silent else self._tell,
                    heartbeat_file=options["heartbeat_file"],
                )
            )

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        # Into a pipe, which a container's log is, it would come at the end.
        self.stdout.flush()

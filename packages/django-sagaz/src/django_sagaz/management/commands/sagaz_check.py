"""``manage.py sagaz_check``: whether runs can be started, and whether somebody executes them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_sagaz.executions import Executions
from django_sagaz.project import current_project
from sagaz_integration_core.commands import as_json, check, check_text
from sagaz_integration_core.errors import SagazError

__all__ = ["Command"]


class Command(BaseCommand):
    """Asks the store how it is."""

    help = "Tell whether the store answers and workers are alive; the exit code is 1 if a person has to look at it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--database", help="the database alias that runs are kept in (SAGAZ['DATABASE'])")
        parser.add_argument("--max-age", type=float, metavar="SECONDS", help="a due run that waits longer is a problem")
        parser.add_argument("--max-failed", type=int, metavar="N", help="more failed runs are a problem")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check."""
        try:
            project = current_project().changed(alias=options["database"])
            executions = Executions(project)
            try:
                health = executions.run(
                    lambda runtime: check(runtime, max_age=options["max_age"], max_failed=options["max_failed"])
                )
            finally:
                executions.close()
        except SagazError as error:
            raise CommandError(str(error)) from error
        health = replace(health, store=project.place)
        self.stdout.write(as_json(health) if options["format"] == "json" else check_text(health))
        if not health.healthy:
            sys.exit(1)

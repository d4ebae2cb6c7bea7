"""``manage.py sagaz_check``: whether runs can be started, and whether somebody executes them."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_sagaz._execution.executions import Executions
from django_sagaz._project.current import current_project
from django_sagaz.checks import check_connections
from django_sagaz.management.operator_command import number
from sagaz_durable.operations.checking import THRESHOLDS, Limits, check, health_json, health_text
from sagaz_integration_core.error_text import visible_lines
from sagaz_integration_core.errors import SagazError

__all__ = ["Command"]


class Command(BaseCommand):
    """Asks the store how it is."""

    help = "Tell whether the store answers and workers are alive; the exit code is 1 if a person has to look at it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--database", help="the database alias that runs are kept in (SAGAZ['DATABASE'])")
        parser.add_argument("--read-only", action="store_true", help="ask for no right to write")
        for field in fields(Limits):
            seconds = field.name.endswith("age")
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=number("seconds" if seconds else "count"),
                default=field.default,
                metavar="SECONDS" if seconds else "N",
                help=THRESHOLDS[field.name],
            )
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check."""
        try:
            project = current_project().changed(alias=options["database"])
            executions = Executions(project)
            try:
                limits = Limits(**{field.name: options[field.name] for field in fields(Limits)})
                problems = [message.msg for message in check_connections(None)]
                health = executions.run(
                    lambda runtime: check(runtime, limits, only_reads=options["read_only"], problems=problems)
                )
            finally:
                executions.close()
        except SagazError as error:
            raise CommandError(visible_lines(str(error))) from error
        health = replace(health, store=project.place)
        self.stdout.write(health_json(health) if options["format"] == "json" else health_text(health))
        if not health.healthy:
            sys.exit(1)

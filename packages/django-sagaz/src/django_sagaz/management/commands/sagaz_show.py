"""``manage.py sagaz_show``: all that is known of one run."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_sagaz._project.current import current_project
from django_sagaz.management.operator_command import OperatorCommand, Work
from sagaz_durable.cli.runs import HELP, show_run

__all__ = ["Command"]


class Command(OperatorCommand):
    """Shows."""

    help = HELP["show"]
    decides = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("saga_id")
        parser.add_argument("--context", action="store_true", help="with its context and results; secrets are masked")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        redact_keys = current_project().settings.redact_keys
        return lambda operator, store: show_run(
            operator, options["saga_id"], options["format"], values=options["context"], redact_keys=redact_keys
        )

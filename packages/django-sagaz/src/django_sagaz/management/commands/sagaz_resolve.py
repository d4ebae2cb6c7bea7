"""``manage.py sagaz_resolve``: a person has settled failed runs."""

from __future__ import annotations

from typing import Any, get_args

from django.core.management.base import CommandParser

from django_sagaz.management.operator_command import OperatorCommand, Work
from sagaz_durable.cli.runs import HELP, resolve_runs
from sagaz_durable.operations.operator import Settlement

__all__ = ["Command"]


class Command(OperatorCommand):
    """Resolves."""

    help = HELP["resolve"]

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("saga_ids", nargs="+", metavar="saga_id")
        parser.add_argument("--as", dest="settled", choices=get_args(Settlement), required=True, help="what it came to")
        parser.add_argument("--reason", required=True, help="what was done; it is kept")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        return lambda operator, store: resolve_runs(
            operator,
            options["saga_ids"],
            options["settled"],
            options["format"],
            reason=options["reason"],
            dry_run=options["dry_run"],
        )

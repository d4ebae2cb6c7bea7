"""``manage.py sagaz_prune``: deletes runs that ended long ago."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_sagaz.operating import OperatorCommand, Work
from sagaz_integration_core.operator_commands import AGE, HELP, prune_runs
from sagaz_integration_core.records import FINISHED, RunStatus

__all__ = ["Command"]


class Command(OperatorCommand):
    """Prunes."""

    help = HELP["prune"]

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--older-than", required=True, metavar="AGE", help=f"ended before that: {AGE}")
        parser.add_argument(
            "--status",
            action="append",
            choices=FINISHED,
            help="of this status; repeatable (completed and rolled_back); failed ones need a person",
        )
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        statuses: tuple[RunStatus, ...] = tuple(options["status"] or ("completed", "rolled_back"))
        return lambda operator, store: prune_runs(
            operator, options["older_than"], statuses, options["format"], dry_run=options["dry_run"]
        )

"""``manage.py sagaz_prune``: deletes runs that ended long ago, or erases what they were given and have returned."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_sagaz.management.operator_command import OperatorCommand, Work
from sagaz_durable.cli.runs import AGE, HELP, PruneWords, prune_runs
from sagaz_integration_core.contract.records import FINISHED

__all__ = ["Command"]


class Command(OperatorCommand):
    """Prunes."""

    help = HELP["prune"]

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("saga_ids", nargs="*", metavar="saga_id")
        parser.add_argument(
            "--contexts", action="store_true", help="erase contexts, results and payloads of sent events; keep journals"
        )
        parser.add_argument("--older-than", metavar="AGE", help=f"ended before that: {AGE}")
        parser.add_argument(
            "--status",
            action="append",
            choices=FINISHED,
            help="of this status; repeatable (completed and rolled_back); failed ones need a person",
        )
        parser.add_argument("--reason", default="", help="why, for the audit; with --contexts")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        words = PruneWords(
            options["saga_ids"],
            options["contexts"],
            options["older_than"],
            options["status"] or (),
            options["reason"],
        )
        return lambda operator, store: prune_runs(operator, words, options["format"], dry_run=options["dry_run"])

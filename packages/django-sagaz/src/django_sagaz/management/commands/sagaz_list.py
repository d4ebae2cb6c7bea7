"""``manage.py sagaz_list``: the sagas of this project, or their runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from django_sagaz._project.current import current_project
from django_sagaz._project.settings import HINT
from django_sagaz.management.operator_command import OperatorCommand, Work, number
from sagaz_durable.cli.runs import HELP, list_runs
from sagaz_durable.operations.catalogue import as_json, list_sagas, list_text
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import ACTIVE, FINISHED

__all__ = ["Command"]


class Command(OperatorCommand):
    """Lists."""

    help = HELP["list"]
    decides = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--runs", action="store_true", help="list runs instead of sagas")
        parser.add_argument(
            "--status", action="append", choices=(*ACTIVE, *FINISHED), help="of this status; repeatable"
        )
        parser.add_argument("--saga", help="of this saga only")
        parser.add_argument("--correlation-id", help="started by the request with this correlation id only")
        parser.add_argument("--limit", type=number("limit"), default=50, help="at most so many runs (50)")
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """List; for the sagas no database is needed."""
        if options["runs"]:
            super().handle(*args, **options)
            return
        sagas = list_sagas(current_project().configuration)
        self.stdout.write(as_json(sagas) if options["format"] == "json" else list_text(sagas, HINT))

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        query = RunFilter(tuple(options["status"] or ()), options["saga"], options["correlation_id"], options["limit"])
        return lambda operator, store: list_runs(store, query, options["format"])

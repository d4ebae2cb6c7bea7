"""``manage.py sagaz_list``: the sagas of this project, or their runs."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_sagaz.project import HINT, current_project
from django_sagaz.run_listing import as_dict, as_line, runs
from sagaz_integration_core.commands import as_json, list_sagas, list_text
from sagaz_integration_core.errors import SagazError
from sagaz_integration_core.protocols import ACTIVE, FINISHED

__all__ = ["Command"]


class Command(BaseCommand):
    """Lists."""

    help = "List the sagas of this project with their steps, or (--runs) their runs, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--runs", action="store_true", help="list runs instead of sagas")
        parser.add_argument("--status", action="append", choices=(*ACTIVE, *FINISHED), help="of these statuses only")
        parser.add_argument("--saga", help="of this saga only")
        parser.add_argument("--limit", type=int, default=50, help="at most so many runs (50)")
        parser.add_argument("--database", help="the database alias that runs are kept in (SAGAZ['DATABASE'])")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        """List."""
        try:
            self.stdout.write(self._runs(options) if options["runs"] else self._sagas(options["format"]))
        except SagazError as error:
            raise CommandError(str(error)) from error

    def _sagas(self, format_: str) -> str:
        sagas = list_sagas(current_project().starter)
        return as_json(sagas) if format_ == "json" else list_text(sagas, HINT)

    def _runs(self, options: dict[str, Any]) -> str:
        project = current_project().changed(alias=options["database"])
        found = runs(project, options["status"] or (), options["saga"], options["limit"])
        if options["format"] == "json":
            return json.dumps([as_dict(run) for run in found], indent=2)
        return "\n".join(map(as_line, found)) or "No runs."

"""The operators' commands of ``manage.py``, above what all frameworks share."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_sagaz._execution.ask_store import ask
from django_sagaz._project.current import current_project
from django_sagaz._project.project import Project
from django_sagaz._stores.connections import commit_by_themselves
from sagaz_durable.cli.numbers import COMMAND_NUMBERS
from sagaz_durable.cli.runs import Said, Selection, decide_runs, person
from sagaz_durable.operations.operator import Operator
from sagaz_integration_core.contract.records import RunStatus
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.error_text import value_text, visible_lines
from sagaz_integration_core.errors import SagazError

__all__ = ["DecisionCommand", "OperatorCommand", "Work", "number", "operate"]

Work = Callable[[Operator, SagaStore], Coroutine[Any, Any, Said]]
T = TypeVar("T")


def operate(project: Project, work: Callable[[Operator, SagaStore], Coroutine[Any, Any, T]], actor: str) -> T:
    """Have a person decide something about the runs of a project.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    registry, publishes = project.registry, project.configuration.publishes
    return ask(project, lambda store: work(Operator(store, registry, actor=actor, publishes=publishes), store))


def number(name: str) -> Callable[[str], Any]:
    """Return the ``type`` of an option whose value is one of `COMMAND_NUMBERS`."""

    def read(text: str) -> Any:
        try:
            return COMMAND_NUMBERS[name].read(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{value_text(text, 60)}: {error}") from None

    return read


class OperatorCommand(BaseCommand):
    """What these commands have in common."""

    decides = True
    """Whether it changes anything, so that somebody has to answer for it."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options that all have."""
        if self.decides:
            parser.add_argument("--by", default=None, help="who decides, for the audit; by default the system's user")
            parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")
        parser.add_argument("--database", help="the database alias that runs are kept in (SAGAZ['DATABASE'])")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done; the exit code is 1 if something was refused.

        With ``--verbosity 0`` only what was asked for, or refused, is said.
        """
        if getattr(self, "_called_from_command_line", False):
            # Nobody else in this process would commit it. System checks may have connected.
            connections.close_all()
            commit_by_themselves()
        try:
            project = current_project().changed(alias=options["database"])
            said = operate(project, self.work(options), options.get("by") or person())
        except SagazError as error:
            raise CommandError(visible_lines(str(error))) from error
        if options["verbosity"] > 0 or not (self.decides and said.done):
            self.stdout.write(said.text)
        if not said.done:
            sys.exit(1)


class DecisionCommand(OperatorCommand):
    """Retry or cancel."""

    action: Literal["retry", "cancel"]
    statuses: tuple[RunStatus, ...]

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("saga_ids", nargs="*", metavar="saga_id")
        parser.add_argument("--all", action="store_true", help=f"all that are {' or '.join(self.statuses)}")
        parser.add_argument("--saga", help="of this saga only")
        parser.add_argument("--reason", default="", help="why, for the audit")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        selection = Selection(options["saga_ids"], options["all"], self.statuses, options["saga"])
        return lambda operator, store: decide_runs(
            operator,
            store,
            self.action,
            selection,
            options["format"],
            reason=options["reason"],
            dry_run=options["dry_run"],
        )

"""The commands of ``manage.py``, above what all frameworks share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_sagaz._execution.ask_store import ask
from django_sagaz._execution.hooks import asynchronous_hook, synchronous_hook
from django_sagaz._project.current import current_project
from django_sagaz._project.project import Project
from django_sagaz._project.wording import WORDING
from django_sagaz._stores.connections import commit_by_themselves
from django_sagaz._stores.runners import immediately
from sagaz_durable.cli.argparse_commands import add_options, given_values
from sagaz_durable.cli.command import Command, Option, Values, spelled
from sagaz_durable.cli.failures import failure_json, failure_text
from sagaz_durable.cli.said import Said
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.operations.operator import Operator

__all__ = ["OperatorCommand", "ProjectCommand", "ProjectScope", "ask_in_scope", "operate"]

T = TypeVar("T")

_DATABASE = Option("--database", "The database alias that runs are kept in; by default {database}.", "ALIAS")


def operate(project: Project, work: Callable[[Operator, SagaStore], Coroutine[Any, Any, T]], actor: str) -> T:
    """Have a person decide something about the runs of a project.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    from sagaz_durable.operations.operator import Operator

    registry, publishes = project.registry, project.configuration.publishes
    return ask(
        project,
        lambda store: work(Operator(store, registry, actor=actor, publishes=publishes, wording=WORDING), store),
    )


@record
class ProjectScope:
    """A project and its open store; see `sagaz_durable.operations.scope`."""

    store: SagaStore
    registry: SagaRegistry
    settings: Settings
    publishes: bool
    handler_hook: Any


def ask_in_scope(project: Project, question: Callable[[ProjectScope], Coroutine[Any, Any, T]]) -> T:
    """Ask something that needs the project's sagas beside its store.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    registry, publishes = project.registry, project.configuration.publishes
    # The project's database is asked on this thread, and another store on an event loop.
    hook = asynchronous_hook if project.alias is None else synchronous_hook
    return ask(project, lambda store: question(ProjectScope(store, registry, project.settings, publishes, hook)))


class ProjectCommand(BaseCommand):
    """A command of the table; a subclass names which, and what options it has in Django only."""

    command: ClassVar[Command]
    options: ClassVar[tuple[Option, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "command" in vars(cls):
            cls.help = spelled(cls.command.help, WORDING)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add_options(parser, (*self.command.options, _DATABASE, *self.options), WORDING)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; the exit code is 1 if something was refused, or is not well."""
        given = given_values(self.command.options, options)
        try:
            said = self.work(given, options)
        except SagazError as error:
            if (document := failure_json(error, given)) is not None:
                self.stdout.write(document)
            raise CommandError(failure_text(error)) from error
        if options["verbosity"] > 0 or not (self.command.writes is True and said.done):
            self.stdout.write(said.text)
        if not said.done:
            sys.exit(1)

    def work(self, given: Values, options: dict[str, Any]) -> Said:
        """Return what is to be printed.

        Args:
            given: The values of the table's options.
            options: Those of Django's own, too.
        """
        raise NotImplementedError


class OperatorCommand(ProjectCommand):
    """A command about the runs and events of a project, or its sagas."""

    def work(self, given: Values, options: dict[str, Any]) -> Said:
        """Ask the store; with ``--verbosity 0`` only what was asked for, or refused, is said."""
        if self.command.need(given) != "store":
            return immediately(self.command.run(current_project().configuration, given))
        if getattr(self, "_called_from_command_line", False):
            # Nobody else in this process would commit it. System checks may have connected.
            connections.close_all()
            commit_by_themselves()
        project = current_project().changed(alias=options["database"])
        return ask_in_scope(project, lambda scope: self.command.run(scope, given))

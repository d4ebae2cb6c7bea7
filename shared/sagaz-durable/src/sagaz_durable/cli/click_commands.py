"""The table of commands for click, which the command lines of FastAPI and Flask share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from sagaz_durable.cli.command import Command, Option, Values, spelled
from sagaz_durable.cli.failures import failure_json, failure_text
from sagaz_durable.cli.numbers import command_number
from sagaz_durable.cli.options import COMMANDS
from sagaz_durable.cli.said import Said
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Reach", "click_commands"]


Reach: TypeAlias = Callable[..., AbstractAsyncContextManager["SagazRuntime"]]
"""How a plugin reaches the runtime of the application that a command is about: called with a `Need`, with
``only_reads``, which tells whether nothing will be written, and with the values of ``target``."""


def click_commands(
    reach: Reach,
    wording: Wording,
    *,
    target: Sequence[click.Parameter] = (),
    run: Callable[[Coroutine[Any, Any, Said]], Said] = asyncio.run,
) -> list[click.Command]:
    """Return all commands of the table.

    Args:
        target: What names the application on the command line, if it has to be named.
        run: Runs a command's coroutine.
    """
    return [_command(command, reach, wording, target, run) for command in COMMANDS.values()]


def _command(
    command: Command, reach: Reach, wording: Wording, target: Sequence[click.Parameter], run: Callable[..., Said]
) -> click.Command:
    def callback(**values: Any) -> None:
        given = {option.name: option.value(values.pop(option.name)) for option in command.options}
        try:
            said = run(_run(command, reach, given, values))
        except SagazError as error:
            if (document := failure_json(error, given)) is not None:
                click.echo(document)
            raise click.ClickException(failure_text(error)) from error
        click.echo(said.text)
        raise SystemExit(0 if said.done else 1)

    params = [*target, *(_parameter(option, wording) for option in command.options)]
    return click.Command(command.name, params=params, callback=callback, help=spelled(command.help, wording))


async def _run(command: Command, reach: Reach, given: Values, target: dict[str, Any]) -> Said:
    async with reach(command.need(given), only_reads=command.only_reads(given), **target) as runtime:
        return await command.run(runtime, given)


def _parameter(option: Option, wording: Wording) -> click.Parameter:
    kind = click.Choice(option.choices) if option.choices else _Number(option.number) if option.number else None
    if not option.word.startswith("--"):
        metavar = f"{option.metavar if option.required else f'[{option.metavar}]'}{'...' if option.many else ''}"
        return click.Argument([option.name], nargs=-1 if option.many else 1, required=option.required, metavar=metavar)
    text = spelled(option.help, wording)
    if option.is_flag:
        return click.Option([option.word, option.name], is_flag=True, help=text)
    return click.Option(
        [option.word, option.name], type=kind, multiple=option.many, required=option.required, help=text,
        metavar=None if option.choices else option.metavar,
    )  # fmt: skip


class _Number(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number of a command line."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or say what was expected."""
        try:
            return command_number(self.name).read(value)
        except ValueError as error:
            self.fail(f"{value_text(value, 60)}: {error}", param, ctx)

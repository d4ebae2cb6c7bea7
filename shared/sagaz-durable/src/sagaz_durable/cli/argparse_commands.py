"""The table of commands for argparse, which Django's command line is made of."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from typing import Any

from sagaz_durable.cli.command import Option, Values, spelled
from sagaz_durable.cli.numbers import command_number
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.error_text import value_text

__all__ = ["add_options", "given_values"]


def add_options(parser: ArgumentParser, options: Iterable[Option], wording: Wording) -> None:
    """Declare options of the table."""
    for option in options:
        # A per cent sign would be filled in.
        text = spelled(option.help, wording).replace("%", "%%")
        if not option.word.startswith("--"):
            nargs = ("+" if option.required else "*") if option.many else None
            parser.add_argument(option.name, nargs=nargs, metavar=option.metavar, help=text)
        elif option.is_flag:
            parser.add_argument(option.word, dest=option.name, action="store_true", help=text)
        else:
            parser.add_argument(
                option.word,
                dest=option.name,
                action="append" if option.many else "store",
                type=_number(option.number) if option.number else str,
                choices=option.choices or None,
                metavar=f"{{{','.join(option.choices)}}}" if option.choices else option.metavar,
                required=option.required,
                help=text,
            )


def given_values(options: Iterable[Option], values: dict[str, Any]) -> Values:
    """Return what a command is called with."""
    return {option.name: option.value(values.get(option.name)) for option in options}


def _number(name: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return command_number(name).read(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{value_text(text, 60)}: {error}") from None

    return read

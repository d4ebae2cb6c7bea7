"""What a command is, and an option, whatever reads the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal

from sagaz_durable.cli.said import Said
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.record import record

__all__ = ["Command", "Need", "Option", "Values", "spelled"]

Values = Mapping[str, Any]
"""What a command line gave, by the names of the options."""

Need = Literal["runtime", "sagas", "store"]
"""A runtime that is not open; one that knows all sagas; one whose store is open."""


@record
class Option:
    """An option, or an argument: a word without dashes before it.

    Attributes:
        word: As it is written, e.g. ``--older-than``.
        help: A sentence; ``{max_due}`` stands for a setting as the framework spells it.
        metavar: What stands for its value; None for a flag.
        number: Which of `numbers.command_number` its value is; a string otherwise.
        choices: What alone it may be.
        default: What it is when it is not given; a function is called for it.
        many: Whether it may be given more than once.
        dest: The name of its value, where that is not the word's.
    """

    word: str
    help: str
    metavar: str | None = None
    number: str | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    many: bool = False
    required: bool = False
    dest: str | None = None

    @property
    def name(self) -> str:
        """What its value is called in `Values`."""
        return self.dest or self.word.removeprefix("--").replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Whether it has no value."""
        return self.metavar is None

    def value(self, given: Any) -> Any:
        """Return what a command is called with; ``given`` is None, or empty, if the option was not given."""
        if self.many:
            return tuple(given or ())
        if given is not None:
            return given
        return self.default() if callable(self.default) else self.default


@record
class Command:
    """A command.

    Attributes:
        run: Does it, with what `needs` says and the values of the options.
        needs: What it is called with.
        store_with: The flags with which it needs the store, if it does not need it anyway.
        writes: Whether it writes, or with which flags.
    """

    name: str
    help: str
    run: Callable[[Any, Values], Coroutine[Any, Any, Said]]
    options: tuple[Option, ...] = ()
    needs: Need = "store"
    store_with: tuple[str, ...] = ()
    writes: bool | tuple[str, ...] = False

    def need(self, given: Values) -> Need:
        """Return what it needs with these options."""
        return "store" if any(given[flag] for flag in self.store_with) else self.needs

    def only_reads(self, given: Values) -> bool:
        """Whether it writes nothing with these options."""
        if isinstance(self.writes, tuple):
            return not any(given[flag] for flag in self.writes)
        return not self.writes


def spelled(text: str, wording: Wording) -> str:
    """Return a help text with its settings as a framework spells them."""
    return re.sub(r"\{(\w+)\}", lambda match: wording.setting(match[1]), text)

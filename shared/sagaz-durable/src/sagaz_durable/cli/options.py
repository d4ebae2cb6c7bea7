"""The commands of all plugins: one table of their help and options, whatever reads the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sagaz_durable.cli import operator_commands as functions
from sagaz_durable.cli.runs import AGE, Said, person
from sagaz_durable.cli.worker import run_worker
from sagaz_durable.operations.checking import THRESHOLDS, Limits
from sagaz_durable.operations.operator import Settlement
from sagaz_integration_core.contract.events import EventStatus
from sagaz_integration_core.contract.records import ACTIVE, FINISHED
from sagaz_integration_core.settings.wording import Wording

__all__ = ["COMMANDS", "Command", "Need", "Option", "Values", "spelled"]

Values = Mapping[str, Any]
"""What a command line gave, by the names of the options."""

Need = Literal["runtime", "sagas", "store"]
"""A runtime that is not open; one that knows all sagas; one whose store is open."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        run: Does it, with what `needs` says and the values of the options.
        needs: What it is called with.
        store_with: The flag with which it needs the store, if it does not need it anyway.
        writes: Whether it writes, or with which flag.
    """

    name: str
    help: str
    run: Callable[[Any, Values], Coroutine[Any, Any, Said]]
    options: tuple[Option, ...] = ()
    needs: Need = "store"
    store_with: str | None = None
    writes: bool | str = False

    def need(self, given: Values) -> Need:
        """Return what it needs with these options."""
        return "store" if self.store_with is not None and given[self.store_with] else self.needs

    def only_reads(self, given: Values) -> bool:
        """Whether it writes nothing with these options."""
        return not (given[self.writes] if isinstance(self.writes, str) else self.writes)


def spelled(text: str, wording: Wording) -> str:
    """Return a help text with its settings as a framework spells them."""
    return re.sub(r"\{(\w+)\}", lambda match: wording.setting(match[1]), text)


def _flag(word: str, help: str) -> Option:  # noqa: A002 - the field's name
    return Option(word, help, default=False)


def _statuses(statuses: tuple[str, ...], help: str) -> Option:  # noqa: A002 - the field's name
    return Option("--status", help, "STATUS", choices=statuses, many=True)


def _reason(help: str) -> Option:  # noqa: A002 - the field's name
    return Option("--reason", help, "TEXT", default="")


_FORMAT = Option(
    "--format", "Text for people, which is the default, or JSON for programs.", "FORMAT", choices=("text", "json"),
    default="text",
)  # fmt: skip
_SAGA_IDS = Option("saga_ids", "The runs.", "SAGA_ID", many=True)
_SAGA = Option("--saga", "Of this saga only.", "NAME")
_BY = Option("--by", "Who decides, for the audit; by default the system's user.", "NAME", default=person)
_DRY_RUN = _flag("--dry-run", "Tell what would be done, and do nothing.")
_LIMITS = tuple(
    Option(
        f"--{name.replace('_', '-')}",
        text,
        "SECONDS" if name.endswith("age") else "N",
        number="seconds" if name.endswith("age") else "count",
        default=getattr(Limits(), name),
    )
    for name, text in THRESHOLDS.items()
)


def _decision(name: Literal["retry", "cancel"], text: str, run: Any, statuses: str) -> Command:
    every = _flag("--all", f"All that are {statuses}.")
    reason = _reason("Why, for the audit.")
    return Command(name, text, run, (_SAGA_IDS, every, _SAGA, reason, _BY, _DRY_RUN, _FORMAT), writes=True)


_TABLE = (
    Command(
        "worker",
        "Execute runs: started ones, and those whose process died.\n\n"
        "The first SIGTERM or SIGINT lets running sagas end within {drain_seconds}, gives the rest back and exits with "
        "0; a second one exits at once, with 143 or 130.",
        run_worker,
        (
            Option("--concurrency", "The most runs at once; by default {concurrency}.", "N", number="concurrency"),
            _flag("--drain", "Execute what is due, and exit."),
            Option(
                "--heartbeat-file",
                "Write this file every 5 s: 'ready', or why not; for probes that start no interpreter.",
                "PATH",
            ),
        ),
        writes=True,
    ),
    Command(
        "list",
        "List the sagas with their steps, or (--runs) their runs, newest first.",
        functions.list_sagas_or_runs,
        (
            _flag("--runs", "List runs instead of sagas."),
            _statuses((*ACTIVE, *FINISHED), "Of this status; repeatable."),
            _SAGA,
            Option("--correlation-id", "Started by the request with this correlation id only.", "ID"),
            Option("--limit", "At most so many runs; by default 50.", "N", number="limit", default=50),
            _FORMAT,
        ),
        needs="sagas",
        store_with="runs",
    ),
    Command(
        "show",
        "Show one run with its steps, and what people decided about it.",
        functions.show,
        (
            Option("saga_id", "The run.", "SAGA_ID", required=True),
            _flag("--context", "With its context and results; secrets are masked."),
            _FORMAT,
        ),
    ),
    _decision(
        "retry", "Have failed runs go on where they stopped, or have their compensation tried again.", functions.retry,
        "failed",
    ),
    _decision(
        "cancel", "Have runs compensate what they have done, instead of going on.", functions.cancel,
        "pending or executing",
    ),
    Command(
        "resolve",
        "Note that a person has settled failed runs outside; who and why are kept.",
        functions.resolve,
        (
            Option("saga_ids", "The runs.", "SAGA_ID", many=True, required=True),
            Option(
                "--as", "What it came to.", "STATUS", choices=get_args(Settlement), required=True, dest="settled"
            ),
            Option("--reason", "What was done; it is kept.", "TEXT", required=True),
            _BY,
            _DRY_RUN,
            _FORMAT,
        ),
        writes=True,
    ),
    Command(
        "prune",
        "Delete runs that ended long ago, with their journals; their idempotency keys are free again. With --contexts, "
        "erase only what runs were given and have returned, and keep their journals and keys.",
        functions.prune,
        (
            _SAGA_IDS,
            _flag("--contexts", "Erase contexts, results and payloads of sent events; keep journals."),
            Option("--older-than", f"Ended before that: {AGE}.", "AGE"),
            _statuses(
                FINISHED,
                "Of this status; repeatable. By default completed and rolled_back, not failed: look at those first.",
            ),
            _reason("Why, for the audit; with --contexts."),
            _BY,
            _DRY_RUN,
            _FORMAT,
        ),
        writes=True,
    ),
    Command(
        "events",
        "List the events that wait for the broker or were set aside, or (--retry) have those that were set aside "
        "published.",
        functions.events,
        (
            Option("event_ids", "The events.", "EVENT_ID", many=True),
            _statuses(
                get_args(EventStatus), "Of this status; repeatable (pending and dead, which is what was set aside)."
            ),
            Option("--topic", "With this topic only.", "TOPIC"),
            Option("--key", "Of this run (its saga_id), or with this key, only.", "KEY"),
            Option("--limit", "At most so many, the oldest first; by default 50.", "N", number="limit", default=50),
            _flag("--payload", "With their payloads and headers; secrets are masked."),
            _flag("--retry", "Publish those that were set aside: the named ones, or --all that match."),
            _flag("--all", "With --retry: all that match."),
            Option("--by", "Who has them retried, for the log; by default the system's user.", "NAME", default=person),
            _flag("--dry-run", "With --retry: tell what would be done, and do nothing."),
            _FORMAT,
        ),
        writes="retry",
    ),
    Command(
        "check",
        "Look at the store and at what works on it: exit with 0 when all is well, with 1 when not.\n\n"
        "Failed runs, which need manual intervention, are no reason to exit with 1 unless --max-failed says so.",
        functions.check_store,
        (_flag("--read-only", "Ask for no right to write."), *_LIMITS, _FORMAT),
        needs="runtime",
    ),
    Command(
        "migrate", "Create the tables in PostgreSQL, or bring them up to date.", functions.migrate, needs="runtime",
        writes=True,
    ),
)  # fmt: skip

COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}
"""All commands by their names."""

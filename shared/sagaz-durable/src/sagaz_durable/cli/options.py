"""The commands of all plugins: one table of their help and options, whatever reads the command line."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, get_args

from sagaz_durable.cli.command import Command, Option, Values
from sagaz_durable.cli.numbers import AGE
from sagaz_durable.cli.said import Said
from sagaz_durable.cli.worker import run_worker
from sagaz_durable.operations.outcomes import Settlement
from sagaz_durable.operations.thresholds import THRESHOLDS, Limits
from sagaz_integration_core.contract.events import EventStatus
from sagaz_integration_core.contract.records import ACTIVE, FINISHED
from sagaz_integration_core.contract.statuses import WebhookOutcome

__all__ = ["COMMANDS"]


def _person() -> str:
    """Return who works at this terminal, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that no user has.
        return f"uid {os.getuid()}"


def _operators(name: str) -> Callable[[Any, Values], Coroutine[Any, Any, Said]]:
    """Return what calls a function of `operator_commands`, which a worker need not load."""

    async def call(asked: Any, given: Values) -> Said:
        from sagaz_durable.cli import operator_commands

        said: Said = await getattr(operator_commands, name)(asked, given)
        return said

    return call


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
_BY = Option("--by", "Who decides, for the audit; by default the system's user.", "NAME", default=_person)
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


def _decision(name: Literal["retry", "cancel", "run-now"], text: str, run: Any, statuses: str) -> Command:
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
        "List the sagas with their steps, or (--runs) their runs, or (--signals) the signals that nobody has taken, "
        "newest first.",
        _operators("list_sagas_or_runs"),
        (
            _flag("--runs", "List runs instead of sagas."),
            _flag("--signals", "List signals that nobody has taken instead of sagas."),
            _statuses((*ACTIVE, *FINISHED), "Of this status; repeatable."),
            _SAGA,
            Option("--owner", "Belonging to this owner only.", "OWNER"),
            Option("--correlation-id", "Started by the request with this correlation id only.", "ID"),
            Option("--limit", "At most so many runs, or signals; by default 50.", "N", number="limit"),
            _FORMAT,
        ),
        needs="sagas",
        store_with=("runs", "signals"),
    ),
    Command(
        "show",
        "Show one run with its steps, and what people decided about it.",
        _operators("show"),
        (
            Option("saga_id", "The run.", "SAGA_ID", required=True),
            _flag("--context", "With its context and results; secrets are masked."),
            _FORMAT,
        ),
    ),
    _decision(
        "retry", "Have failed runs go on where they stopped, or have their compensation tried again.",
        _operators("retry"), "failed",
    ),
    _decision(
        "cancel", "Have runs compensate what they have done, instead of going on.", _operators("cancel"),
        "pending, executing or waiting",
    ),
    _decision(
        "run-now", "Have runs go on now that are started for later, or that sleep.", _operators("run_now"),
        "pending, compensating or waiting",
    ),
    Command(
        "signal",
        "Send a signal to a run that waits for it, or will: to one (--run), or to whichever waits under a key (--key).",
        _operators("signal"),
        (
            Option("name", "The signal's name.", "NAME", required=True),
            Option("--run", "To this run.", "SAGA_ID"),
            Option("--key", "To the run that waits under this key.", "KEY"),
            Option("--payload", "What the step is given, a JSON object; by default {}.", "JSON", default="{}"),
            Option("--signal-id", "Tells apart several signals of one name and address.", "ID", default=""),
            _reason("Why, for the audit of the run."),
            _BY,
            _DRY_RUN,
            _FORMAT,
        ),
        writes=True,
    ),
    Command(
        "resolve",
        "Note that a person has settled failed runs outside; who and why are kept.",
        _operators("resolve"),
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
        "erase only what runs were given and have returned, and keep their journals and keys. Signals that were taken, "
        "or sent in vain, before that are deleted, too, unless --status chooses among runs, and webhooks' events after "
        "{keep_webhooks_seconds}.",
        _operators("prune"),
        (
            _SAGA_IDS,
            _flag("--contexts", "Erase contexts, results and payloads of sent events and of signals; keep journals."),
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
        _operators("events"),
        (
            Option("event_ids", "The events.", "EVENT_ID", many=True),
            _statuses(
                get_args(EventStatus), "Of this status; repeatable (pending and dead, which is what was set aside)."
            ),
            Option("--topic", "With this topic only.", "TOPIC"),
            Option("--key", "Of this run (its saga_id), or with this key, only.", "KEY"),
            Option("--limit", "At most so many, the oldest first; by default 50.", "N", number="limit"),
            _flag("--payload", "With their payloads and headers; secrets are masked."),
            _flag("--retry", "Publish those that were set aside: the named ones, or --all that match."),
            _flag("--all", "With --retry: all that match."),
            Option("--by", "Who has them retried, for the log; by default the system's user.", "NAME", default=_person),
            _flag("--dry-run", "With --retry: tell what would be done, and do nothing."),
            _FORMAT,
        ),
        writes=("retry",),
    ),
    Command(
        "webhooks",
        "List the events that were delivered as webhooks, newest first, or show the named ones, or (--replay) have "
        "them given to their sagas again, or (--dismiss) ignored.",
        _operators("webhooks"),
        (
            Option("webhook_ids", "The events.", "WEBHOOK_ID", many=True),
            Option("--outcome", "Of which this came only.", "OUTCOME", choices=get_args(WebhookOutcome)),
            Option("--source", "Of this source only.", "NAME"),
            Option("--run", "That started this run, or were sent to it, only.", "SAGA_ID"),
            Option("--limit", "At most so many; by default 50.", "N", number="limit"),
            _flag("--body", "With their bodies; secrets are masked."),
            _flag("--replay", "Give events to their sagas again: the named ones, or --all quarantined ones."),
            _flag("--all", "With --replay: all that are quarantined and match."),
            _flag("--dismiss", "Have the named ones, which are quarantined, be ignored."),
            _reason("With --replay or --dismiss: why, for the audit."),
            _BY,
            _flag("--dry-run", "With --replay or --dismiss: tell what would be done, and do nothing."),
            _FORMAT,
        ),
        writes=("replay", "dismiss"),
    ),
    Command(
        "check",
        "Look at the store and at what works on it: exit with 0 when all is well, with 1 when not.\n\n"
        "Failed runs, which need manual intervention, and runs that wait for a person are no reason to exit with 1 "
        "unless --max-failed and --max-asking say so.",
        _operators("check_store"),
        (_flag("--read-only", "Ask for no right to write."), *_LIMITS, _FORMAT),
        needs="runtime",
    ),
    Command(
        "migrate", "Create the tables in PostgreSQL, or bring them up to date.", _operators("migrate"), needs="runtime",
        writes=True,
    ),
)  # fmt: skip

COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}
"""All commands by their names."""

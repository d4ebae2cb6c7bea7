"""The command for events for click, which the command lines of FastAPI and Flask share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import click

from sagaz_durable.cli.click_commands import format_option, limit_type
from sagaz_durable.cli.events import EVENTS_HELP, OPTIONS, EventsRequest, answer
from sagaz_durable.cli.runs import Said, person
from sagaz_integration_core.contract.events import EventStatus

__all__ = ["add_events_command"]


def _help(name: str) -> str:
    text = OPTIONS[name]
    return f"{text[0].upper()}{text[1:]}."


def add_events_command(
    group: click.Group, reach: Callable[..., Said], *, target: Sequence[click.Parameter] = ()
) -> None:
    """Add the command ``events`` to a group.

    Args:
        reach: Does the work with the application's open runtime; called with the values of ``target``, too, and with
            ``only_reads``, which tells whether it writes nothing.
        target: What names the application on the command line, if it has to be named.
    """

    @group.command("events", help=EVENTS_HELP)
    @click.argument("event_ids", nargs=-1, metavar="[EVENT_ID]...")
    @click.option("--status", "statuses", multiple=True, type=click.Choice(get_args(EventStatus)), help=_help("status"))
    @click.option("--topic", help=_help("topic"))
    @click.option("--key", help=_help("key"))
    @click.option("--limit", type=limit_type, default=50, help=_help("limit"))
    @click.option("--payload", is_flag=True, help=_help("payload"))
    @click.option("--retry", is_flag=True, help=_help("retry"))
    @click.option("--all", "every", is_flag=True, help=_help("all"))
    @click.option("--by", default=person, help=_help("by"))
    @click.option("--dry-run", is_flag=True, help=_help("dry_run"))
    @format_option
    def command(
        event_ids: tuple[str, ...],
        statuses: tuple[Any, ...],
        topic: str | None,
        key: str | None,
        limit: int,
        payload: bool,
        retry: bool,
        every: bool,
        by: str,
        dry_run: bool,
        output: Any,
        **target: Any,
    ) -> None:
        request = EventsRequest(event_ids, statuses, topic, key, limit, payload, retry, every, by, dry_run, output)
        said = reach(
            lambda runtime: answer(runtime.store, request, redact_keys=runtime.settings.redact_keys),
            only_reads=not retry,
            **target,
        )
        click.echo(said.text)
        raise SystemExit(0 if said.done else 1)

    command.params[:0] = target

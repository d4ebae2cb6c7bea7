"""``manage.py sagaz_events``: the events that wait for the broker, and those that were set aside."""

from __future__ import annotations

from typing import Any, get_args

from django.core.management.base import CommandParser

from django_sagaz._project.current import current_project
from django_sagaz.management.operator_command import OperatorCommand, Work, number
from sagaz_durable.cli.events import EVENTS_HELP, OPTIONS, EventsRequest, answer
from sagaz_durable.cli.runs import person
from sagaz_integration_core.contract.events import EventStatus

__all__ = ["Command"]


class Command(OperatorCommand):
    """Lists and retries."""

    help = EVENTS_HELP
    decides = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("event_ids", nargs="*", metavar="event_id")
        parser.add_argument("--status", action="append", choices=get_args(EventStatus), help=OPTIONS["status"])
        parser.add_argument("--topic", help=OPTIONS["topic"])
        parser.add_argument("--key", help=OPTIONS["key"])
        parser.add_argument("--limit", type=number("limit"), default=50, help=OPTIONS["limit"])
        parser.add_argument("--by", help=OPTIONS["by"])
        for name in ("payload", "retry", "all", "dry_run"):
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=OPTIONS[name])
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> Work:
        """Return what is to be done."""
        request = EventsRequest(
            options["event_ids"],
            tuple(options["status"] or ()),
            options["topic"],
            options["key"],
            options["limit"],
            options["payload"],
            options["retry"],
            options["all"],
            options["by"] or person(),
            options["dry_run"],
            options["format"],
        )
        redact_keys = current_project().settings.redact_keys
        return lambda operator, store: answer(store, request, redact_keys=redact_keys)

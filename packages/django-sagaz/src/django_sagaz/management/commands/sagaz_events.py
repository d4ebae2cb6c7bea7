"""``manage.py sagaz_events``: the events that wait for the broker, and those that were set aside."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Lists and retries."""

    command = COMMANDS["events"]

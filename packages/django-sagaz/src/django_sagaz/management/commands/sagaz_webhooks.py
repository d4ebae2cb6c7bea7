"""``manage.py sagaz_webhooks``: the events that senders delivered, and those that are quarantined."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Lists, shows and replays."""

    command = COMMANDS["webhooks"]

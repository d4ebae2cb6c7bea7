"""``manage.py sagaz_show``: all that is known of one run."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Shows."""

    command = COMMANDS["show"]

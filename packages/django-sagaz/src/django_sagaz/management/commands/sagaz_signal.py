"""``manage.py sagaz_signal``: a signal is sent to a run that waits for it."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Sends one."""

    command = COMMANDS["signal"]

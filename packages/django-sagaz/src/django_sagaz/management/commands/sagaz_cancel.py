"""``manage.py sagaz_cancel``: runs compensate what they have done."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Cancels."""

    command = COMMANDS["cancel"]

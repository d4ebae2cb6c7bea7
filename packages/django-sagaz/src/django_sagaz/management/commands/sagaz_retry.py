"""``manage.py sagaz_retry``: failed runs go on, or are compensated again."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Retries."""

    command = COMMANDS["retry"]

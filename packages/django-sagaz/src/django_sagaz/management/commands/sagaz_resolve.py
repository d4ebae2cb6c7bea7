"""``manage.py sagaz_resolve``: a person has settled failed runs."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Resolves."""

    command = COMMANDS["resolve"]

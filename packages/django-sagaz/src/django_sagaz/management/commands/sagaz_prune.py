"""``manage.py sagaz_prune``: deletes runs that ended long ago, or erases what they were given and have returned."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Prunes."""

    command = COMMANDS["prune"]

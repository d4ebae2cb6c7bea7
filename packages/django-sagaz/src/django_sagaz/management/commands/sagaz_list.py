"""``manage.py sagaz_list``: the sagas of this project, or their runs."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Lists."""

    command = COMMANDS["list"]

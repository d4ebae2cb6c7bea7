"""``manage.py sagaz_run_now``: runs go on that are delayed, or that sleep."""

from __future__ import annotations

from django_sagaz.management.operator_command import OperatorCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(OperatorCommand):
    """Brings forward."""

    command = COMMANDS["run-now"]

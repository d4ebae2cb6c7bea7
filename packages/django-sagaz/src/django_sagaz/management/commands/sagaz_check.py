"""``manage.py sagaz_check``: whether runs can be started, and whether somebody executes them."""

from __future__ import annotations

from django_sagaz.management.check_command import CheckCommand
from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(CheckCommand):
    """Checks."""

    command = COMMANDS["check"]

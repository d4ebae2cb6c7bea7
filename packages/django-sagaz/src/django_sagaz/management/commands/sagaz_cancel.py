"""``manage.py sagaz_cancel``: runs compensate what they have done."""

from __future__ import annotations

from django_sagaz.management.operator_command import DecisionCommand
from sagaz_durable.cli.runs import HELP

__all__ = ["Command"]


class Command(DecisionCommand):
    """Cancels."""

    help = HELP["cancel"]
    action = "cancel"
    statuses = ("pending", "executing")

"""``manage.py sagaz_cancel``: runs compensate what they have done."""

from __future__ import annotations

from django_sagaz.operating import DecisionCommand
from sagaz_integration_core.operator_commands import HELP

__all__ = ["Command"]


class Command(DecisionCommand):
    """Cancels."""

    help = HELP["cancel"]
    action = "cancel"
    statuses = ("pending", "executing")

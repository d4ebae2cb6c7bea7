"""``manage.py sagaz_retry``: failed runs go on, or are compensated again."""

from __future__ import annotations

from django_sagaz.management.operator_command import DecisionCommand
from sagaz_durable.cli.runs import HELP

__all__ = ["Command"]


class Command(DecisionCommand):
    """Retries."""

    help = HELP["retry"]
    action = "retry"
    statuses = ("failed",)

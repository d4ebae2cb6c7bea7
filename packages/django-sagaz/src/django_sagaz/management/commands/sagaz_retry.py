"""``manage.py sagaz_retry``: failed runs go on, or are compensated again."""

from __future__ import annotations

from django_sagaz.operating import DecisionCommand
from sagaz_integration_core.operator_commands import HELP

__all__ = ["Command"]


class Command(DecisionCommand):
    """Retries."""

    help = HELP["retry"]
    action = "retry"
    statuses = ("failed",)

"""``manage.py sagaz_worker``: runs what was started, and resumes what other processes left."""

from __future__ import annotations

from sagaz_durable import without_collections

with without_collections():
    from django_sagaz.management.worker_command import WorkerCommand
    from sagaz_durable.cli.options import COMMANDS

__all__ = ["Command"]


class Command(WorkerCommand):
    """Works."""

    command = COMMANDS["worker"]

"""Runs as ``sagaz_list --runs`` shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_sagaz.asking import ask
from django_sagaz.project import Project
from sagaz_integration_core.protocols import RunFilter, RunRecord, RunStatus

__all__ = ["as_dict", "as_line", "runs"]


def runs(project: Project, statuses: Iterable[RunStatus], saga: str | None, limit: int) -> list[RunRecord]:
    """Return runs, newest first."""
    wanted = RunFilter(statuses=tuple(statuses), saga_name=saga, limit=limit)
    return ask(project, lambda store: store.find(wanted))


def as_line(run: RunRecord) -> str:
    """Render a run for people."""
    line = f"{run.created_at:%Y-%m-%d %H:%M:%S}  {run.status:<12}  {run.saga_id}  {run.saga_name}"
    return f"{line}: {run.error}" if run.error else line


def as_dict(run: RunRecord) -> dict[str, Any]:
    """Return a run for programs, without its context, which may be anybody's secret."""
    times = ("available_at", "created_at", "updated_at", "finished_at")
    texts = ("saga_id", "saga_name", "status", "error", "correlation_id", "attempt", "failures", "lease_owner")
    return {name: getattr(run, name) for name in texts} | {
        name: None if (value := getattr(run, name)) is None else value.isoformat() for name in times
    }

"""What readers are told of a run, as JSON has it: nothing that the application has not allowed to be shown."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sagaz_durable.engine.course import was_overdue
from sagaz_durable.engine.state import StepView
from sagaz_durable.http.problems import Problem
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.operations.outcomes import RunReport
from sagaz_durable.problem_types import RUN_FAILED, RUN_OVERDUE, RUN_ROLLED_BACK, Kind
from sagaz_durable.serialization.context_values import plain_values_of
from sagaz_integration_core.contract.records import FOREIGN, Phase, RunRecord, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import ContextValueError

__all__ = ["moment_text", "run_document", "run_summary"]

logger = logging.getLogger(__name__)

Json = dict[str, Any]


def run_summary(run: RunRecord) -> Json:
    """Return what a list tells of a run."""
    return {
        "saga_id": run.saga_id,
        "saga": run.saga_name,
        "status": run.status,
        "owner": run.owner,
        "version": run.version,
        "created_at": moment_text(run.created_at),
        "updated_at": moment_text(run.updated_at),
        "finished_at": moment_text(run.finished_at),
        "due_at": moment_text(run.available_at),
        "deadline": moment_text(run.deadline),
    }


def run_document(report: RunReport, rules: ApiRules) -> Json:
    """Return all that a reader is told of a run."""
    return {
        **run_summary(report.run),
        "steps": [_step(name, view, report.steps) for name, view in report.views.items()],
        "waits_for": [_wait(wait) for wait in report.waits if wait.outcome is None],
        "context": _shown(report, tuple(rules.shows)),
        "error": _error(report.run, tells=rules.tells_errors),
    }


def moment_text(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 writes it, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _step(name: str, view: StepView, journal: Sequence[StepRecord]) -> Json:
    compensation = None if view.undo is None else {"state": view.undo, **_times(journal, name, "undo")}
    return {"name": name, "state": view.state, **_times(journal, name, "do"), "compensation": compensation}


def _times(journal: Iterable[StepRecord], name: str, phase: Phase) -> Json:
    entry = next((entry for entry in journal if (entry.step, entry.phase) == (name, phase)), None)
    return {
        "started_at": None if entry is None else moment_text(entry.started_at),
        "finished_at": None if entry is None else moment_text(entry.finished_at),
    }


def _wait(wait: WaitRecord) -> Json:
    return {
        "step": wait.step,
        "compensates": wait.phase == "undo",
        "recovers": wait.phase == "redo",
        "signal": wait.name or None,
        "since": moment_text(wait.created_at),
        "until": moment_text(wait.until),
    }


def _shown(report: RunReport, keys: Sequence[str]) -> Json:
    if not keys or report.run.fingerprint == FOREIGN:
        return {}
    try:
        values = plain_values_of(report.run, report.steps)
    except ContextValueError as error:
        logger.warning("Run %s: its context cannot be read, and is not shown: %s", report.run.saga_id, error)
        return {}
    return {key: values[key] for key in keys if key in values}


def _error(run: RunRecord, *, tells: bool) -> Json | None:
    kind = _end(run)
    if kind is None:
        return None
    detail = visible(run.error) if tells and run.error else None
    return Problem(kind, detail).document(run.correlation_id)


def _end(run: RunRecord) -> Kind | None:
    if run.status == "rolled_back":
        return RUN_OVERDUE if was_overdue(run.error) else RUN_ROLLED_BACK
    return RUN_FAILED if run.status == "failed" else None

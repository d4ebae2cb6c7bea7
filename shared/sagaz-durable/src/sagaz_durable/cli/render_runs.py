"""Runs, and what was decided about them, as commands show them: for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sagaz_durable.calls.waits import waits_for
from sagaz_durable.engine.state import StepView
from sagaz_durable.operations.outcomes import Outcome, RunReport
from sagaz_durable.problem_types import references
from sagaz_durable.redaction import looks_secret, masked_json
from sagaz_durable.serialization.attempt_text import attempt_text
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import RunRecord, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.error_text import json_text, visible

__all__ = ["outcomes_json", "outcomes_text", "report_json", "report_text", "runs_json", "runs_text", "time_text"]

IsSecret = Callable[[str], bool]
Waits = Mapping[str, Sequence[WaitRecord]]
"""What runs wait for, by their saga_ids."""


def time_text(moment: datetime | None) -> str:
    """Render a time in UTC, to the second; None is never."""
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def runs_text(runs: Sequence[RunRecord], waits: Waits) -> str:
    """Render a list of runs, a line each, with what they wait for."""
    return "\n".join(visible(_line(run, waits.get(run.saga_id, ()))) for run in runs) or "No runs."


def runs_json(runs: Sequence[RunRecord], waits: Waits) -> str:
    """Render a list of runs for programs, without their contexts, which may be anybody's secret."""
    return _json([{**_row(run, "context"), "waits": _waits_json(waits.get(run.saga_id, ()))} for run in runs])


def _line(run: RunRecord, waits: Sequence[WaitRecord]) -> str:
    line = f"{time_text(run.created_at)}  {run.status:<12}  {run.saga_id}  {run.saga_name}"
    told = [run.error or "", *(f"{_where(wait)} waits for {waits_for(wait)}" for wait in waits)]
    told = [text for text in told if text]
    return f"{line}: {'; '.join(told)}" if told else line


def report_text(report: RunReport, *, values: bool, is_secret: IsSecret = looks_secret) -> str:
    """Render all that is known of one run.

    Args:
        values: Whether to show the context and the results of steps.
        is_secret: Tells by its key which of those values is masked even so.
    """
    run = report.run
    facts = [
        ("run", run.saga_id),
        ("saga", run.saga_name),
        ("owner", run.owner or "none"),
        ("status", run.status),
        ("error", run.error or "none"),
        ("attempt", f"{run.attempt}, {run.failures} failures"),
        ("correlation", run.correlation_id or "none"),
        ("created", time_text(run.created_at)),
        ("updated", time_text(run.updated_at)),
        ("finished", time_text(run.finished_at)),
        ("due", time_text(run.available_at)),
        ("deadline", time_text(run.deadline) if run.deadline else "none"),
        ("lease", f"{run.lease_owner} until {time_text(run.lease_expires_at)}" if run.lease_owner else "none"),
    ]
    if values:
        facts.append(("context", masked_json(run.context, is_secret)))
    lines = [f"{name:<12} {value}" for name, value in facts]
    lines += ["", "steps" if report.steps else "steps        none"]
    lines += [line for step in report.steps for line in _step(step, values, is_secret)]
    if report.views:
        lines += ["", "state", *(f"  {name}: {_view(view)}" for name, view in report.views.items())]
    if report.waits:
        lines += ["", "waits", *map(_wait, report.waits)]
    if report.attempts:
        lines += ["", "attempts", *(f"  {attempt_text(attempt)}" for attempt in report.attempts)]
    if report.audit:
        lines += ["", "audit", *map(_note, report.audit)]
    return "\n".join(map(visible, lines))


_PHASES = {"redo": "recovery", "undo": "compensation"}


def _step(step: StepRecord, values: bool, is_secret: IsSecret) -> list[str]:
    name = step.step if step.phase == "do" else f"{step.step} ({_PHASES[step.phase]})"
    head = f"  {time_text(step.started_at)}  {step.status:<9}  {name}  attempt {step.attempt}{_took(step)}"
    lines = [f"{head}: {step.error}" if step.error else head]
    if values and step.result:
        lines.append(f"    result {masked_json(step.result, is_secret)}")
    return lines


_UNDO = {
    "uncalled": "has a compensation",
    "owed": "to be compensated",
    "started": "its compensation has begun",
    "waiting": "its compensation is waiting",
    "done": "compensated",
    "failed": "its compensation failed",
    "in_doubt": "its compensation is in doubt",
    "lost": "to be compensated, and this deployment has no compensation of it",
}


def _view(view: StepView) -> str:
    state = view.state.replace("_", " ")
    return state if view.undo is None else f"{state}, {_UNDO[view.undo]}"


_ENDED = {"signal": "has got", "timeout": "did not get in time", "refused": "may not wait, as another run does, for"}


def _wait(wait: WaitRecord) -> str:
    verb = "waits for" if wait.outcome is None else _ENDED[wait.outcome] if wait.name else "has waited for"
    line = f"  {_where(wait)} {verb} {waits_for(wait)}" + (f", key {wait.key}" if wait.key else "")
    return f"{line}, since {time_text(wait.created_at)}" if wait.outcome is None else line


def _where(wait: WaitRecord) -> str:
    return wait.step if wait.phase == "do" else f"{_PHASES[wait.phase]} of {wait.step}"


def _waits_json(waits: Sequence[WaitRecord]) -> list[dict[str, Any]]:
    return [_row(wait, "saga_id", "payload") for wait in waits]


def _took(step: StepRecord) -> str:
    # What waits was called and left, and is not over.
    if step.started_at is None or step.finished_at is None or step.status == "waiting":
        return ""
    return f", {(step.finished_at - step.started_at).total_seconds():.3f} s"


def _note(note: AuditRecord) -> str:
    line = f"  {time_text(note.at)}  {note.action} by {note.actor}: {note.found} -> {note.status}"
    return f"{line} ({note.reason})" if note.reason else line


def report_json(report: RunReport, *, values: bool, is_secret: IsSecret = looks_secret) -> str:
    """Render all that is known of one run for programs; see `report_text`."""
    hidden = () if values else ("context", "result")
    return _json(
        {
            **_row(report.run, *hidden, is_secret=is_secret),
            "steps": [_row(step, "saga_id", *hidden, is_secret=is_secret) for step in report.steps],
            "state": {name: asdict(view) for name, view in report.views.items()},
            "attempts": [_row(attempt, "saga_id") for attempt in report.attempts],
            "waits": _waits_json(report.waits),
            "audit": [_row(note, "saga_id") for note in report.audit],
        }
    )


def outcomes_text(outcomes: Sequence[Outcome]) -> str:
    """Render what became of decisions, a line each, and where a refusal is explained."""
    lines = [f"{'ok' if outcome.done else 'refused':<8} {outcome.saga_id}  {outcome.message}" for outcome in outcomes]
    lines += references(outcome.kind for outcome in outcomes)
    return "\n".join(map(visible, lines)) or "No runs."


def outcomes_json(outcomes: Sequence[Outcome]) -> str:
    """Render what became of decisions for programs."""
    return _json([{**asdict(outcome), "type": outcome.kind and outcome.kind.address} for outcome in outcomes])


def _row(
    record: RunRecord | StepRecord | WaitRecord | AttemptRecord | AuditRecord,
    *hidden: str,
    is_secret: IsSecret = looks_secret,
) -> dict[str, Any]:
    # Beside a masked context, a digest of the whole one would tell what is masked: a cvv has a thousand values.
    hidden = (*hidden, "fingerprint")
    row = {name: value for name, value in asdict(record).items() if name not in hidden}
    for name in ("context", "result"):
        if row.get(name) is not None:
            row[name] = json.loads(masked_json(row[name], is_secret))
    return row


def _json(value: Any) -> str:
    return json_text(value, indent=2, default=datetime.isoformat)

"""What the page of one run shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from django_sagaz._project.project import Project
from django_sagaz._stores.orm.interventions import audit_of
from django_sagaz.admin.diagram import picture, translated_words
from django_sagaz.admin.values import LOADED, json_size, json_text, present, shown_value, time_text, visible
from django_sagaz.admin.waiting import awaited_texts, sent_signals, wait_rows
from django_sagaz.models import Attempt, OutboxEvent, Step, Wait
from sagaz_durable.diagram.states import drawn_steps
from sagaz_durable.redaction import secret_keys
from sagaz_integration_core.contract.records import erased_as
from sagaz_integration_core.errors import SagaNotRegistered

__all__ = ["run_page"]

_RESULT = 2_000_000
_LINES = 100
"""How many events, decisions and attempts a page shows; the commands show all."""


def run_page(project: Project, run: Any, waits: Sequence[Wait], *, events: bool, signals: bool) -> dict[str, Any]:
    """Return what is known of a run, for its template.

    Args:
        run: With its ``context_size``, and its ``context_text`` unless that is too long.
        waits: What it waits for; see `load_waits`.
        events, signals: Whether this user may see them.
    """
    is_secret = secret_keys(project.settings.redact_keys)
    journal = _journal(project, run)
    return {
        "run": run,
        "facts": _facts(run),
        "error": visible(run.error) if run.error else "",
        "steps": [_step(entry, is_secret) for entry in journal],
        **_diagram(project, run, journal, waits),
        "waits": wait_rows(waits),
        "signals": sent_signals(project, run.pk, waits, is_secret) if signals else None,
        "context_shown": shown_value(run.context_text, run.context_size, is_secret),
        "attempts": _attempts(project, run),
        "audit": _audit(project, run),
        "events": _events(project, run) if events else None,
    }


def _facts(run: Any) -> list[tuple[str, str]]:
    lease = ""
    if run.lease_owner and run.lease_expires_at:
        given = {"owner": visible(run.lease_owner), "time": time_text(run.lease_expires_at, zone=True)}
        lease = _("by %(owner)s, at least until %(time)s") % given
    facts = [
        (_("Saga"), visible(run.saga_name)),
        (_("Saga id"), visible(run.saga_id)),
        (_("Owner"), visible(run.owner or "")),
        (_("Correlation id"), visible(run.correlation_id or "")),
        (_("Created"), time_text(run.created_at, zone=True)),
        (_("Changed"), time_text(run.updated_at, zone=True)),
        (_("Finished"), time_text(run.finished_at, zone=True)),
        (_("Took"), _took(run.created_at, run.finished_at)),
        (_("Attempt"), str(run.attempt)),
        (_("Failures"), str(run.failures)),
        (_("Executed alone"), _("after %(count)s deaths in company") % {"count": run.suspicions} if run.alone else ""),
        (_("Due"), time_text(run.available_at, zone=True)),
        (_("Deadline"), _deadline(run)),
        (_("Erased"), _("what it was given and has returned") if erased_as(run.fingerprint) else ""),
        (_("Executed"), lease),
    ]
    return [fact for fact in facts if fact[1]]


def _deadline(run: Any) -> str:
    if run.deadline is None:
        return ""
    passed = run.finished_at is None and run.deadline < present(run._state.db)  # noqa: SLF001 - Django documents it
    shown = time_text(run.deadline, zone=True)
    return _("%(time)s, which has passed") % {"time": shown} if passed else shown


def _took(start: datetime | None, end: datetime | None) -> str:
    return "" if start is None or end is None else f"{(end - start).total_seconds():,.3f} s"


def _journal(project: Project, run: Any) -> list[Any]:
    """Return the journal in the order of the starts; of its results, no more than a page can bear are read."""
    steps = Step.objects.using(project.alias).filter(saga_id=run.pk).defer("result")
    steps = steps.annotate(result_size=json_size("result"))
    results = steps.aggregate(count=Count("result"))["count"]
    steps = steps.annotate(result_text=json_text("result", min(_RESULT, LOADED // max(results, 1))))
    return list(steps.order_by(Coalesce("started_at", "finished_at"), "step", "phase"))


def _step(entry: Any, is_secret: Callable[[str], bool]) -> dict[str, Any]:
    return {
        "name": visible(entry.step),
        "phase": entry.get_phase_display(),
        "tells_phase": entry.phase != "do",
        "status": entry.status,
        "label": entry.get_status_display(),
        "attempt": str(entry.attempt),
        "started": time_text(entry.started_at),
        # What waits was called and left, and is not over.
        "took": "" if entry.status == "waiting" else _took(entry.started_at, entry.finished_at),
        "error": visible(entry.error) if entry.error else "",
        "result": shown_value(entry.result_text, entry.result_size, is_secret),
    }


def _diagram(project: Project, run: Any, journal: Sequence[Any], waits: Sequence[Wait]) -> dict[str, Any]:
    try:
        declared = list(project.registry.get(run.saga_name).graph.nodes.values())
    except SagaNotRegistered:
        declared = None
    active = run.status in ("pending", "executing") or (run.status == "waiting" and run.direction == "forward")
    awaited = awaited_texts(waits)
    states = drawn_steps(
        declared, journal, direction=run.direction, active=active, awaited=awaited, words=translated_words()
    )
    return {
        "diagram": picture(states, run.saga_name, registered=declared is not None) if states else None,
        "registered": declared is not None,
        "renamed": any(not state.declared for state in states),
    }


def _attempts(project: Project, run: Any) -> list[dict[str, Any]]:
    attempts: Any = Attempt.objects.using(project.alias).filter(saga_id=run.pk)
    return [
        {
            "attempt": str(attempt.attempt),
            "outcome": attempt.get_outcome_display(),
            "began": time_text(attempt.began_at),
            "ended": time_text(attempt.ended_at),
            "owner": visible(attempt.owner),
            "under_way": visible(attempt.under_way or ""),
            "detail": visible(attempt.detail or ""),
        }
        for attempt in reversed(attempts.order_by("-attempt")[:_LINES])
    ]


def _audit(project: Project, run: Any) -> list[dict[str, Any]]:
    entries = audit_of(project.alias, [run.pk])
    return [
        {
            "at": time_text(entry.at),
            "action": entry.action,
            "actor": visible(entry.actor),
            "found": entry.found,
            "status": entry.status,
            "reason": visible(entry.reason),
        }
        for entry in reversed(entries.order_by("-id")[:_LINES])
    ]


def _events(project: Project, run: Any) -> list[dict[str, Any]]:
    events: Any = OutboxEvent.objects.using(project.alias).filter(saga_id=run.pk)
    events = events.defer("payload", "headers", "error").order_by("id")
    return [
        {
            "pk": event.pk,
            "event_id": visible(event.event_id),
            "topic": visible(event.topic),
            "status": event.status,
            "label": event.get_status_display(),
            "attempts": str(event.attempts),
            "created": time_text(event.created_at),
        }
        for event in events[:_LINES]
    ]

"""What a run waits for, and the signals that it was sent, as its page shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from django_sagaz._project.project import Project
from django_sagaz.admin.values import LOADED, json_size, json_text, shown_value, time_text, visible
from django_sagaz.models import Signal, Wait

__all__ = ["awaited_texts", "load_waits", "sent_signals", "signal_state", "sleeps", "taker", "wait_rows"]

_SIGNALS = 100
"""How many signals a page shows; `sagaz_list --signals` lists all that nobody has taken."""


def load_waits(project: Project, saga_id: str) -> list[Wait]:
    """Return what the calls of a run wait for, or have waited for since they began, the oldest first."""
    waits = Wait.objects.using(project.alias).filter(saga_id=saga_id).defer("payload")
    return list(waits.order_by("created_at", "n"))


def sleeps(waits: Sequence[Wait]) -> bool:
    """Whether one of these waits is for a time, and not over."""
    return any(not wait.name and wait.outcome is None for wait in waits)


def wait_rows(waits: Sequence[Any]) -> list[dict[str, Any]]:
    """Return waits for the template."""
    return [
        {
            "step": visible(wait.step),
            "phase": wait.get_phase_display(),
            "tells_phase": wait.phase != "do",
            "what": _what(wait),
            "key": visible(wait.key or ""),
            "since": time_text(wait.created_at),
            "until": time_text(wait.until),
            "open": wait.outcome is None,
            "state": _state(wait),
        }
        for wait in waits
    ]


def awaited_texts(waits: Sequence[Wait]) -> dict[tuple[str, str], str]:
    """Return what each step and each compensation waits for, in words."""
    found: dict[tuple[str, str], list[str]] = {}
    for wait in waits:
        if wait.outcome is None:
            until = f" {_('until %(time)s') % {'time': time_text(wait.until)}}" if wait.until else ""
            found.setdefault((wait.step, wait.phase), []).append(f"{_what(wait)}{until}")
    return {call: ", ".join(texts) for call, texts in found.items()}


def _what(wait: Wait) -> str:
    return _("signal %(name)s") % {"name": visible(wait.name)} if wait.name else _("a time")


def _state(wait: Wait) -> str:
    if wait.outcome is None:
        return _("waiting")
    if wait.outcome == "signal":
        return _("came")
    return _("another run waits for it") if wait.outcome == "refused" else _("time over")


def sent_signals(
    project: Project, saga_id: str, waits: Sequence[Wait], is_secret: Callable[[str], bool]
) -> list[dict[str, Any]]:
    """Return the signals of a run for the template, the newest first.

    They are those to its saga_id, those that it has taken by a key, and those that are there for a key that it waits
    for. One that was refused was refused to its sender, and is kept nowhere.
    """
    mine = Q(saga_id=saga_id) | Q(taken_by=saga_id)
    for wait in waits:
        if wait.key is not None:
            mine |= Q(key=wait.key, name=wait.name, taken_at=None)
    signals = Signal.objects.using(project.alias).filter(mine).defer("payload")
    signals = signals.annotate(payload_size=json_size("payload"))
    signals = signals.annotate(payload_text=json_text("payload", LOADED // _SIGNALS))
    return [_signal(signal, is_secret) for signal in signals.order_by("-created_at", "-id")[:_SIGNALS]]


def _signal(signal: Any, is_secret: Callable[[str], bool]) -> dict[str, Any]:
    return {
        "pk": signal.pk,
        "name": visible(signal.name),
        "to": _("this run") if signal.key is None else _("key %(key)s") % {"key": visible(signal.key)},
        "signal_id": visible(signal.signal_id),
        "sent": time_text(signal.created_at),
        "taken": time_text(signal.taken_at),
        "taker": taker(signal),
        "state": "untaken" if signal.taken_at is None else "taken",
        "label": signal_state(signal),
        "payload": shown_value(signal.payload_text, signal.payload_size, is_secret),
    }


def taker(signal: Signal) -> str:
    """Return the step that has taken a signal, or whose compensation has."""
    if signal.taken_step is None:
        return ""
    step = visible(signal.taken_step)
    if signal.taken_phase == "redo":
        return _("recovery of %(step)s") % {"step": step}
    return step if signal.taken_phase == "do" else _("compensation of %(step)s") % {"step": step}


def signal_state(signal: Signal) -> str:
    """Return in words whether somebody has taken a signal."""
    return _("not taken") if signal.taken_at is None else _("taken")

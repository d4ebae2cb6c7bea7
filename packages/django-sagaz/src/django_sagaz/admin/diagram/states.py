"""In which state each step of a run is, and its compensation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_sagaz.admin.values import visible

if TYPE_CHECKING:
    from sagaz_integration_core._upstream.definitions import StepInfo

__all__ = ["StepState", "step_states"]


_SIGNS = {"waiting": "○", "started": "▸", "done": "✓", "failed": "✕", "in_doubt": "?"}


@dataclass(frozen=True, slots=True)
class StepState:
    """One step of a run.

    Attributes:
        state: ``waiting``, ``started``, ``done``, ``failed`` or ``in_doubt``.
        undo: The state of its compensation, ``uncalled`` while it was not called; None if the step has none.
        label, undo_label: The same in words.
        declared: Whether the saga, as it is now, has this step.
    """

    name: str
    depends_on: tuple[str, ...]
    state: str
    label: str
    undo: str | None
    undo_label: str
    pivot: bool = False
    declared: bool = True

    @property
    def shown(self) -> str:
        """The name, as a page may have it."""
        return visible(self.name)

    @property
    def sign(self) -> str:
        """What tells the state to those who see no colours."""
        return _SIGNS[self.state]


def step_states(declared: Sequence[StepInfo] | None, journal: Iterable[Any], *, active: bool) -> list[StepState]:
    """Return the steps of a run, those before which others wait first.

    Args:
        declared: The steps of the saga; None if it is not registered here, and only the journal tells of them.
        journal: The run's `Step` rows, in the order of their starts.
        active: Whether what was not called yet may be called later.
    """
    entries = {(entry.step, entry.phase): entry for entry in journal}
    ran = [step for step, phase in entries if phase == "do"]
    ran += [step for step, phase in entries if phase == "undo" and step not in ran]
    states = []
    for info in declared or ():
        states.append(_state(info.name, info.depends_on, entries, active, info.compensated, info.pivot))
    known = {state.name for state in states}
    previous: tuple[str, ...] = ()
    for name in ran:
        if name in known:
            continue
        # Without the saga, the order of the starts is all that is known.
        state = _state(name, previous if declared is None else (), entries, active, (name, "undo") in entries)
        states.append(replace(state, declared=declared is None))
        previous = (name,)
    return states


def _state(
    name: str, depends_on: tuple[str, ...], entries: Any, active: bool, compensated: bool, pivot: bool = False
) -> StepState:
    do, undo = entries.get((name, "do")), entries.get((name, "undo"))
    state = do.status if do is not None else "waiting"
    undo_state = undo.status if undo is not None else ("uncalled" if compensated else None)
    return StepState(
        name, depends_on, state, _label(state, do, active), undo_state, _undo_label(undo_state, undo), pivot
    )


def _label(state: str, entry: Any, active: bool) -> str:
    if state == "waiting":
        return _("waiting") if active else _("not called")
    labels = {"started": _("started"), "done": _("done"), "failed": _("failed"), "in_doubt": _("in doubt")}
    return f"{labels[state]}{_took(entry)}"


def _undo_label(state: str | None, entry: Any) -> str:
    if state is None:
        return _("no compensation")
    labels = {
        "uncalled": _("compensation not called"),
        "started": _("compensation started"),
        "done": _("compensated"),
        "failed": _("compensation failed"),
        "in_doubt": _("compensation in doubt"),
    }
    return f"{labels[state]}{_took(entry) if entry is not None else ''}"


def _took(entry: Any) -> str:
    if entry.started_at is None or entry.finished_at is None:
        return ""
    return f", {(entry.finished_at - entry.started_at).total_seconds():.2f} s"

"""In which state each step of a run is, and its compensation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sagaz_durable.engine.state import StepState, UndoState, step_views
from sagaz_durable.graph import StepNode, graph_of
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import Direction
from sagaz_integration_core.error_text import visible

__all__ = ["WORDS", "DrawnStep", "drawn_steps"]

WORDS: Mapping[str, str] = MappingProxyType({
    "title": "The steps of saga {name}",
    "pivot": "pivot",
    "uncalled": "not called yet",
    "left": "not called",
    "started": "started",
    "waiting": "waiting",
    "done": "done",
    "failed": "failed",
    "in_doubt": "in doubt",
    "kept": "done, kept by a pivot",
    "recovering": "failed, to be recovered",
    "skipped": "failed, and skipped",
    "undo none": "no compensation",
    "undo uncalled": "compensation not called",
    "undo owed": "to be compensated",
    "undo lost": "its compensation is not in this deployment",
    "undo started": "compensation started",
    "undo waiting": "compensation is waiting",
    "undo done": "compensated",
    "undo failed": "compensation failed",
    "undo in_doubt": "compensation in doubt",
})  # fmt: skip
"""What a diagram says, in English; a framework that translates has the same keys."""

_SIGNS = {
    "uncalled": "○", "started": "▸", "waiting": "◷", "done": "✓", "failed": "✕", "in_doubt": "?", "kept": "■",
    "recovering": "✕", "skipped": "✕",
}  # fmt: skip


@record
class DrawnStep:
    """One step of a run.

    Attributes:
        state: How far it is.
        undo: How far its compensation is; None if the step has none.
        label, undo_label: The same in words.
        awaited, undo_awaited: What they wait for, in words.
        declared: Whether the saga, as it is now, has this step.
    """

    name: str
    depends_on: tuple[str, ...]
    state: StepState
    label: str
    undo: UndoState | None
    undo_label: str
    pivot: bool = False
    declared: bool = True
    awaited: str = ""
    undo_awaited: str = ""

    @property
    def told(self) -> str:
        """How far the step is, with what it waits for."""
        return _told(self.label, self.awaited)

    @property
    def undo_told(self) -> str:
        """How far its compensation is, with what that waits for."""
        return _told(self.undo_label, self.undo_awaited)

    @property
    def shown(self) -> str:
        """The name, as a page may have it."""
        return visible(self.name)

    @property
    def sign(self) -> str:
        """What tells the state to those who see no colours."""
        return _SIGNS[self.state]


def drawn_steps(
    declared: Sequence[StepNode] | None,
    journal: Iterable[Any],
    *,
    direction: Direction,
    active: bool,
    awaited: Mapping[tuple[str, str], str] = MappingProxyType({}),
    words: Mapping[str, str] = WORDS,
) -> list[DrawnStep]:
    """Return the steps of a run, those before which others wait first.

    Args:
        declared: The steps of the saga; None if it is not registered here, and only the journal tells of them.
        journal: The run's journal entries, in the order of their starts.
        direction: Whether the run goes forward or rolls back.
        active: Whether what was not called yet may be called later.
        awaited: What calls wait for, in words, by step and phase.
        words: As `WORDS`.
    """
    entries = {(entry.step, entry.phase): entry for entry in journal}
    nodes = {node.name: node for node in declared or ()}
    steps = []
    previous: tuple[str, ...] = ()
    for name, view in step_views(graph_of("the saga", tuple(nodes.values())), direction, entries).items():
        node = nodes.get(name)
        # Without the saga, the order of the starts is all that is known.
        depends_on = node.depends_on if node is not None else previous if declared is None else ()
        previous = (name,)
        do, undo = entries.get((name, "do")), entries.get((name, "undo"))
        steps.append(
            DrawnStep(
                name,
                depends_on,
                view.state,
                _label(words, view.state, do, active),
                view.undo,
                _undo_label(words, view.undo, undo),
                pivot=node is not None and node.pivot,
                declared=node is not None or declared is None,
                awaited=awaited.get((name, "do")) or awaited.get((name, "redo"), ""),
                undo_awaited=awaited.get((name, "undo"), ""),
            )
        )
    return steps


def _told(label: str, awaited: str) -> str:
    return f"{label}: {awaited}" if awaited else label


def _label(words: Mapping[str, str], state: StepState, entry: Any, active: bool) -> str:
    if state == "uncalled" and not active:
        return words["left"]
    return words[state] if state in ("uncalled", "waiting") else f"{words[state]}{_took(entry)}"


def _undo_label(words: Mapping[str, str], state: UndoState | None, entry: Any) -> str:
    label = words[f"undo {state or 'none'}"]
    return f"{label}{_took(entry)}" if entry is not None and state not in (None, "waiting") else label


def _took(entry: Any) -> str:
    if entry.started_at is None or entry.finished_at is None:
        return ""
    return f", {(entry.finished_at - entry.started_at).total_seconds():.2f} s"

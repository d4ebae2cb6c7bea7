"""What the journal of a run means: what may begin, what is in doubt, what is to be undone, and which end is true.

A pure function of the run's direction, its journal entries and its saga's graph. The executor, ``show``, the admin's
diagram and the operators' decisions all ask it, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from sagaz_durable.graph import Graph
from sagaz_durable.recovery import action_of
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.statuses import Call, Direction, StepStatus

__all__ = [
    "End",
    "Entry",
    "RunState",
    "StepState",
    "StepView",
    "UndoState",
    "assess",
    "passed_pivots",
    "step_views",
]

End = Literal["completed", "rolled_back", "failed"]

StepState = Literal["uncalled", "started", "waiting", "done", "failed", "in_doubt", "kept", "recovering", "skipped"]
"""How far a step is. ``waiting``: for a signal or a time. ``in_doubt``: it was called, and whether it had its effect is
not known. ``kept``: done, and not undone because a pivot behind it is done. ``recovering``: it failed behind a pivot,
and its recovery, or a person, has to decide. ``skipped``: that was the decision."""

UndoState = Literal["uncalled", "owed", "started", "waiting", "done", "failed", "in_doubt", "lost"]
"""How far a compensation is. ``owed``: it will be called. ``lost``: it would be, and this deployment has not got it."""


@record
class StepView:
    """What a person is told of one step; ``undo`` is None for one without a compensation."""

    state: StepState
    undo: UndoState | None


class Entry(Protocol):
    """What is read of a journal entry."""

    @property
    def status(self) -> StepStatus:
        """How far the call got."""
        ...

    @property
    def result(self) -> Any:
        """What the call has returned, as JSON; of a call that decides about a step that failed, see `recovery`."""
        ...

    @property
    def compensated(self) -> bool:
        """Whether the step had a compensation when it was called."""
        ...


Entries = Mapping[Call, Entry]


class RunState(NamedTuple):
    """What is to be done next.

    Attributes:
        begin: The calls that may begin now.
        end: The end that is true now; None as long as something is under way, may begin, or is not known here.
        waits: Whether calls wait for a signal or a time, so that there is no end yet although nothing may begin.
        left: For an end as ``failed``: what was done, or may have been, and stays undone, in words.
        unknown: Steps that the journal has called, and this deployment's class has not. The run cannot go forward here.
    """

    begin: tuple[Call, ...] = ()
    end: End | None = None
    waits: bool = False
    left: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def assess(
    graph: Graph,
    direction: Direction,
    entries: Entries,
    running: Collection[Call] = (),
    waiting: Collection[Call] = (),
) -> RunState:
    """Return what a run's journal means.

    Args:
        direction: Whether the run goes forward or rolls back; a fact of its own, which entries do not tell: a run that
            is tried again has ``failed`` entries and goes forward.
        entries: The last entry of each call.
        running: The calls that are under way in this process; hooks included, so that one may have no entry yet.
        waiting: The calls whose entry is ``waiting``, and whose wait is not over: they are not called again yet.
    """
    if direction == "forward":
        return _forward(graph, entries, running, waiting)
    return _back(graph, entries, running, waiting)


def _forward(graph: Graph, entries: Entries, running: Collection[Call], waiting: Collection[Call]) -> RunState:
    nodes = graph.nodes
    done, deciding, unknown = set(), set(), []
    for call, entry in entries.items():
        step, phase = call
        if phase == "undo":
            continue
        if step not in nodes:
            if entry.status != ("failed" if phase == "do" else "done"):
                unknown.append(step)
        elif phase == "redo":
            if entry.status != "done":
                deciding.add(step)
            elif action_of(entry) == "skip" and call not in running:
                done.add(step)
        elif entry.status == "done" and call not in running:
            done.add(step)
    if unknown:
        return RunState(unknown=tuple(unknown))
    if len(done) == len(nodes):
        return RunState(end=None if running else "completed")
    busy = {step for step, _ in (*running, *waiting)}
    # An entry that failed or is in doubt in a run that goes forward means: call it again, once it is decided about.
    begin: list[Call] = [
        (name, "redo" if name in deciding else "do") for name in nodes
        if name not in done and name not in busy and graph.before[name] <= done
    ]  # fmt: skip
    return RunState(tuple(begin), waits=bool(waiting))


def _back(graph: Graph, entries: Entries, running: Collection[Call], waiting: Collection[Call]) -> RunState:
    if any(phase != "undo" for _, phase in running):
        # What is still being done may have to be undone too, and before what it depends on.
        return RunState()
    wanted = _to_undo(graph, entries)
    open_ = {
        step for step in wanted
        if (step, "undo") in running or not _has_ended(graph, entries.get((step, "undo")), step)
    }  # fmt: skip
    begin: tuple[Call, ...] = tuple(
        (step, "undo") for step in sorted(open_)
        if (step, "undo") not in running and (step, "undo") not in waiting
        and open_.isdisjoint(graph.dependents[step])
    )  # fmt: skip
    if open_:
        return RunState(begin, waits=bool(waiting))
    left = _left(graph, entries, wanted)
    return RunState(end="failed" if left else "rolled_back", left=left)


def _to_undo(graph: Graph, entries: Entries) -> list[str]:
    kept = _kept(graph, entries)
    return [
        step
        for (step, phase), entry in entries.items()
        if phase == "do"
        and entry.status != "failed"
        and step not in kept
        # Of a step that the class has lost nobody knows whether it was a pivot.
        and (entry.compensated or step not in graph.nodes or graph.nodes[step].compensated)
    ]


def _has_ended(graph: Graph, undo: Entry | None, step: str) -> bool:
    """Whether nothing more can be done here about a step that is to be undone."""
    if undo is not None and undo.status in ("done", "failed"):
        return True
    return step not in graph.nodes or not graph.nodes[step].compensated


def _left(graph: Graph, entries: Entries, wanted: list[str]) -> tuple[str, ...]:
    left = []
    for step in sorted(wanted):
        undo = entries.get((step, "undo"))
        if undo is not None and undo.status == "done":
            continue
        if undo is not None and undo.status == "failed":
            left.append(f"compensation of {step!r}: {getattr(undo, 'error', None) or 'failed'}")
        else:
            what = "step" if step not in graph.nodes else "compensation of step"
            left.append(f"step {step!r} is not undone: this deployment has no {what} {step!r}; deploy it, and retry")
    if pivots := passed_pivots(graph, entries):
        left.append(f"not rolled back behind the completed pivot {', '.join(pivots)}")
    return tuple(left)


def _kept(graph: Graph, entries: Entries) -> set[str]:
    pivots = passed_pivots(graph, entries)
    return set(pivots).union(*(graph.ancestors[name] for name in pivots))


def passed_pivots(graph: Graph, entries: Entries) -> list[str]:
    """Return the pivots that are done: what they depend on, and they themselves, are not undone any more.

    Those are left out that a recovery has decided to compensate.
    """
    given_up = {
        pivot
        for (step, phase), entry in entries.items()
        if phase == "redo" and step in graph.nodes and action_of(entry) == "compensate"
        for pivot in graph.ancestors[step]
    }
    return [
        name for name, node in graph.nodes.items()
        if node.pivot and name not in given_up
        and (entry := entries.get((name, "do"))) is not None and entry.status == "done"
    ]  # fmt: skip


def step_views(graph: Graph, direction: Direction, entries: Entries) -> dict[str, StepView]:
    """Return what a person is told of each step: those of the graph, and those that only the journal knows."""
    back = direction == "back"
    kept = _kept(graph, entries) if back else set()
    owed = set(_to_undo(graph, entries)) if back else set()
    names = dict.fromkeys([*graph.nodes, *(step for step, _ in entries)])
    return {
        name: StepView(
            _do_state(entries.get((name, "do")), entries.get((name, "redo")), name in kept, back),
            _undo_state(graph, entries, name, name in owed),
        )
        for name in names
    }


def _do_state(do: Entry | None, redo: Entry | None, kept: bool, back: bool) -> StepState:
    if do is None:
        return "uncalled"
    if redo is not None and do.status in ("failed", "in_doubt"):
        if action_of(redo) == "skip":
            return "skipped"
        if redo.status != "done" and not back:
            return "recovering"
    return "kept" if kept and do.status == "done" else do.status


def _undo_state(graph: Graph, entries: Entries, name: str, owed: bool) -> UndoState | None:
    do, undo = entries.get((name, "do")), entries.get((name, "undo"))
    if undo is not None:
        return undo.status
    has_one = name in graph.nodes and graph.nodes[name].compensated
    if owed:
        return "owed" if has_one else "lost"
    return "uncalled" if has_one or (do is not None and do.compensated) else None

"""The rules, stated over the calls that user code noted and the rows; it knows nothing of the engine.

Each call is judged by the deployment that made it, not by the latest.
"""

from __future__ import annotations

from typing import Any

from random_sagas import StepPlan
from worlds import Call, World

from sagaz_durable.recovery import action_of

__all__ = ["check"]


def check(world: World, run: Any, steps: list[Any]) -> None:
    """Raise AssertionError when a rule is broken."""
    for call in world.calls:
        assert call.lease_held, f"{call} was called by a process whose lease had ended"
        assert call.status_before != "done", f"{call} was called though the journal says that it is done"
        assert call.phase == "undo" or not call.rolls_back, f"{call} was called although the run rolls back"
        if call.overdue and call.phase == "do":
            assert _pivot_has_ended(world, call), f"{call} was called after the run's deadline"
    _check_signals(world)
    entries = {(entry.step, entry.phase): entry for entry in steps}
    _check_order(world)
    _check_inputs(world)
    if run.status == "completed":
        _check_completed(world, run.attempt, entries)
    elif run.status == "rolled_back":
        _check_rolled_back(world, entries)
    elif run.status == "failed":
        assert run.error, "a failed run says why"
    else:
        # It waits for a deployment that has all steps of its journal; none of those at the end had.
        known = {step.name for step in world.deployments[-1].plan}
        begun = {call.step for call in world.calls} | {step for step, _ in entries}
        assert not begun <= known, f"the run has not ended: {run.status}"


def _pivot_has_ended(world: World, call: Call) -> bool:
    pivots = {step.name for step in world.deployments[call.deployment].plan if step.pivot}
    before = world.calls[: world.calls.index(call)]
    return any(one.step in pivots and one.phase == "do" and one.end in ("ok", None) for one in before)


def _check_signals(world: World) -> None:
    """A signal belongs to one wait, and a wait has one signal, however often its step is called."""
    owners: dict[int, tuple[str, str]] = {}
    given: dict[tuple[str, str], int] = {}
    for call in world.calls:
        if call.got is None:
            continue
        wait = (call.step, call.phase)
        if call.got == "late":
            # That has failed the call; if a decision has it called anew, it waits anew.
            given.pop(wait, None)
            continue
        assert given.setdefault(wait, call.got) == call.got, f"{call} got something else before: {given[wait]}"
        if isinstance(call.got, int):
            assert owners.setdefault(call.got, wait) == wait, f"{call} got the signal of {owners[call.got]}"
            assert call.got in world.sent, f"{call} got a signal that nobody has sent"


def _plan(world: World, call: Call) -> dict[str, StepPlan]:
    return {step.name: step for step in world.deployments[call.deployment].plan}


def _ancestors(plan: dict[str, StepPlan], step: str) -> set[str]:
    found: set[str] = set()
    todo = [step]
    while todo:
        for name in plan[todo.pop()].depends_on:
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _check_order(world: World) -> None:
    for at, call in enumerate(world.calls):
        before, plan = world.calls[:at], _plan(world, call)
        if call.phase != "undo":
            ended = {one.step for one in before if one.phase == "do" and one.end == "ok"}
            ended |= {name for name in plan if world.decided(name, "redo", "skip")}
            assert ended >= _ancestors(plan, call.step), f"{call} before what it depends on"
            if call.phase == "redo":
                failed = [one for one in before if (one.step, one.phase) == (call.step, "do")]
                assert failed, f"{call} without a call of the step"
                assert any(plan[name].pivot for name in _ancestors(plan, call.step)), f"{call} before any pivot"
            assert not any(one.phase == "undo" and one.end == "ok" for one in before), f"{call} after an undo"
            continue
        dependents = {name for name in plan if call.step in _ancestors(plan, name)}
        for name in dependents:
            if _may_have_effect(before, name) and _undoable(world, before, name) and plan[name].compensated:
                undos = [one for one in before if (one.step, one.phase) == (name, "undo")]
                by_person = world.decided(name, "undo", "done", "give_up")
                assert undos or by_person, f"{call} before the undo of {name}, which depends on it"


def _check_inputs(world: World) -> None:
    """One idempotency key, one input: the same deployment calls a step with the same context each time."""
    seen: dict[tuple[str, str, int], dict[str, Any]] = {}
    for call in world.calls:
        if call.phase == "do":
            key = (call.step, call.phase, call.deployment)
            # But for what a recovery has changed.
            given = {name: value for name, value in call.context.items() if not name.startswith("recovered ")}
            first = seen.setdefault(key, given)
            assert first == given, f"{call} had another input before: {first}"


def _may_have_effect(calls: list[Call], step: str) -> bool:
    return any(one.step == step and one.phase == "do" and one.end != "raised" for one in calls)


def _undoable(world: World, calls: list[Call], step: str) -> bool:
    """Whether a deployment that made a call which may have had its effect had a compensation for it."""
    return any(
        _plan(world, one)[step].compensated
        for one in calls
        if (one.step, one.phase) == (step, "do") and one.end != "raised"
    )


def _check_completed(world: World, attempt: int, entries: dict[Any, Any]) -> None:
    for name in {step.name for step in world.ended_by(attempt).plan}:
        redo = entries.get((name, "redo"))
        if redo is not None and action_of(redo) == "skip":
            assert world.decided(name, "redo", "skip"), f"completed, and nobody has decided to skip {name}"
            continue
        assert entries[name, "do"].status == "done", f"completed without {name}"
        assert any(call.step == name and call.end == "ok" for call in world.calls), f"completed, {name} never ended"
    assert not any(call.phase == "undo" for call in world.calls), "completed after an undo"


def _check_rolled_back(world: World, entries: dict[Any, Any]) -> None:
    for step in {call.step for call in world.calls}:
        do = [at for at, call in enumerate(world.calls) if (call.step, call.phase) == (step, "do")]
        undone = [
            at for at, call in enumerate(world.calls) if (call.step, call.phase, call.end) == (step, "undo", "ok")
        ]
        if _may_have_effect(world.calls, step) and _undoable(world, world.calls, step):
            by_person = world.decided(step, "undo", "done")
            assert by_person or undone[-1:] > do[-1:], f"rolled_back, and {step} is not undone"
            assert entries[step, "undo"].status == "done", f"rolled_back, and the undo of {step} is not journaled"
        if undone:
            # What one process has not recorded, or claimed and not called, is in doubt for all others.
            several = len(world.processes) > 1
            assert several or _may_have_effect(world.calls, step), f"{step} was undone, and had failed for certain"
        plans = [_plan(world, world.calls[at])[step] for at in do]
        if plans and plans[-1].pivot:
            given_up = any(phase == "redo" and action_of(one) == "compensate" for (_, phase), one in entries.items())
            assert given_up or entries[step, "do"].status != "done", f"rolled_back behind the pivot {step}"

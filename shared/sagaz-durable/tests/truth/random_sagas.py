"""Random sagas, described as values, and classes made of them that note each call, hook and listener."""

from __future__ import annotations

import asyncio
import copy
import random
from dataclasses import dataclass, field
from typing import Any

from sagaz import Saga, action, compensate
from sagaz.core.listeners import SagaListener

__all__ = ["Notes", "StepPlan", "build", "plan_by_levels", "plan_freely"]


@dataclass(frozen=True)
class StepPlan:
    """One step: what it depends on, and how it and its compensation behave."""

    name: str
    depends_on: tuple[str, ...]
    fails: bool = False
    compensated: bool = True
    undo_fails: bool = False
    pivot: bool = False
    result: dict[str, Any] | None = None
    bad_hook: str | None = None
    waits: str | None = None
    turns: int = 1
    recovers: bool = False
    manual: bool = False


@dataclass
class Notes:
    """What was called, in order: (what, step, context or error)."""

    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def add(self, what: str, step: str, value: Any = None) -> None:
        if isinstance(value, dict):
            value = {key: copy.deepcopy(one) for key, one in value.items() if not key.startswith("__")}
        self.calls.append((what, step, value))

    def of(self, step: str) -> list[tuple[str, Any]]:
        return [(what, value) for what, name, value in self.calls if name == step]

    def steps(self, what: str) -> list[str]:
        return [name for kind, name, _ in self.calls if kind == what]


class Listening(SagaListener):
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def on_saga_start(self, saga_name, saga_id, ctx):
        self._notes.add("listener start", "", ctx)

    async def on_step_enter(self, saga_name, step_name, ctx):
        self._notes.add("listener enter", step_name)

    async def on_step_success(self, saga_name, step_name, ctx, result):
        self._notes.add("listener success", step_name, result)

    async def on_step_failure(self, saga_name, step_name, ctx, error):
        self._notes.add("listener failure", step_name, str(error))

    async def on_compensation_start(self, saga_name, step_name, ctx):
        self._notes.add("listener undo", step_name)

    async def on_compensation_complete(self, saga_name, step_name, ctx):
        self._notes.add("listener undone", step_name)

    async def on_saga_complete(self, saga_name, saga_id, ctx):
        self._notes.add("listener complete", "", ctx)
        raise RuntimeError("a listener's own")

    async def on_saga_failed(self, saga_name, saga_id, ctx, error):
        self._notes.add("listener failed", "", ctx)


def build(plan: list[StepPlan], notes: Notes, name: str = "Random") -> type[Saga]:
    """Return a saga class that behaves as planned and notes what is called."""
    members: dict[str, Any] = {"listeners": [Listening(notes)], "saga_name": name}
    for step in plan:
        members[f"do_{step.name}"] = _forward(step, notes)
        if step.compensated:
            members[f"undo_{step.name}"] = _undo(step, notes)
    return type(name, (Saga,), members)


def _hook(step: StepPlan, notes: Notes, what: str) -> Any:
    def hook(ctx: dict[str, Any], name: str, *more: Any) -> None:
        notes.add(f"hook {what}", step.name)
        if step.bad_hook == what:
            raise RuntimeError("a hook's own")

    async def asynchronous(ctx: dict[str, Any], name: str, *more: Any) -> None:
        hook(ctx, name, *more)

    return asynchronous if len(step.name) % 2 else hook


def _forward(step: StepPlan, notes: Notes) -> Any:
    hooks = {f"on_{what}": _hook(step, notes, what) for what in ("enter", "success", "failure")}

    @action(step.name, depends_on=list(step.depends_on), pivot=step.pivot, **hooks)
    async def do(self, ctx):
        notes.add("do", step.name, ctx)
        # Whoever is called at the same time is called before anybody ends.
        for _ in range(step.turns):
            await asyncio.sleep(0)
        if step.fails:
            raise ValueError(f"{step.name} fails")
        notes.add("done", step.name)
        return copy.deepcopy(step.result)

    return do


def _undo(step: StepPlan, notes: Notes) -> Any:
    @compensate(step.name, on_compensate=_hook(step, notes, "compensate"))
    async def undo(self, ctx):
        notes.add("undo", step.name, ctx)
        for _ in range(step.turns):
            await asyncio.sleep(0)
        if step.undo_fails:
            raise OSError(f"undoing {step.name} fails")

    return undo


def plan_by_levels(rng: random.Random) -> list[StepPlan]:
    """Plan a saga in which each step depends on all of the level before: so sagaz executes every saga."""
    plan: list[StepPlan] = []
    before: tuple[str, ...] = ()
    for level in range(rng.randint(1, 4)):
        names = tuple(f"s{level}{'x' * i}" for i in range(rng.randint(1, 3)))
        # Siblings that set the same key race for it in sagaz; here the declared order decides.
        plan += [_step(rng, name, before, turns=1, shared=f"shared by {name}") for name in names]
        before = names
    return plan


def plan_freely(rng: random.Random) -> list[StepPlan]:
    """Plan a saga with any dependencies."""
    plan: list[StepPlan] = []
    for number in range(rng.randint(1, 7)):
        names = [step.name for step in plan]
        needed = tuple(rng.sample(names, rng.randint(0, min(2, len(names)))))
        plan.append(_step(rng, f"s{number}", needed, turns=rng.randint(1, 6)))
    return plan


def _step(
    rng: random.Random, name: str, depends_on: tuple[str, ...], *, turns: int, shared: str = "shared"
) -> StepPlan:
    return StepPlan(
        name,
        depends_on,
        fails=rng.random() < 0.12,
        compensated=rng.random() < 0.8,
        undo_fails=rng.random() < 0.1,
        pivot=rng.random() < 0.1,
        result=rng.choice([None, {}, {name: rng.randint(0, 9)}, {shared: name}, {name: [1, {"deep": True}]}]),
        bad_hook=rng.choice([None, None, None, "enter", "success", "failure", "compensate"]),
        turns=turns,
    )

"""A world in which processes execute one run, die, stand still and lose their leases, all at the turn of a seed.

User code notes each call in a ledger outside the store; what it does depends on the seed, the step and how often that
was called, never on who comes first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from random_sagas import StepPlan
from sagaz import CompensationType, RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.records import ClaimedRun, NewRun
from sagaz_integration_core.contract.waits import NewSignal
from sagaz_integration_core.errors import SignalTimeout, StoreUnavailable, WriteRefused

__all__ = ["Call", "Deployment", "FaultyStore", "Process", "World", "task_of_process"]

NAME = "Model"

_owner: ContextVar[Process | None] = ContextVar("owner", default=None)


def task_of_process(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task that is known to the process that made it, so that all of them die with it."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    if (process := _owner.get()) is not None:
        process.tasks.add(task)
    return task


BEHAVIOURS = (
    *("ok",) * 9, "error", "error", "timeout_error", "list", "generator_exit", "cancels_itself", "cancelled_error",
    "hostile", "forgot_await", "unkept", "dies", "stands_still",
)  # fmt: skip


@contextmanager
def left_or_late(call: Call) -> Iterator[None]:
    """Note how a call ends at its wait, if it does."""
    try:
        yield
    except SignalTimeout:
        call.end, call.got = "doubt", "late"
    except BaseException:
        call.end = "left"
        raise


class Hostile(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


@dataclass
class Call:
    """One call of user code. ``end`` is None while it is under way, or when its process died in it.

    ``got`` is what it was given by a wait: the number of a signal, or how its time ended.
    """

    process: int
    deployment: int
    step: str
    phase: str
    context: dict[str, Any]
    status_before: str | None
    lease_held: bool
    rolls_back: bool
    overdue: bool = False
    end: str | None = None
    got: int | str | None = None
    decided: str | None = None


@dataclass(frozen=True)
class Deployment:
    number: int
    plan: tuple[StepPlan, ...]
    retries: bool


@dataclass
class World:
    """What outlives processes: the store, the ledger, the deployments."""

    store: Any
    rows: Any
    seed: int
    calls: list[Call] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    calm: bool = False
    sent: dict[int, str] = field(default_factory=dict)
    answers: set[tuple[str, str, str]] = field(default_factory=set)

    async def send(self, saga_id: str, name: str, fault: Fault | None = None) -> None:
        """Send one more signal of this name, and once more, as its sender does who has heard nothing."""
        number = len(self.sent)
        self.sent[number] = name
        text = f'{{"n": {number}}}'
        signal = NewSignal(f"{saga_id} {number}", name, saga_id, None, str(number), text, text)
        with suppress(*FAULTS.values()):
            await LossyStore(self.store, fault).send([signal])
        await self.store.send([signal])

    async def decide(self, saga_id: str, wait: Any, action: str) -> None:
        """Answer a wait for a person."""
        self.answers.add((wait.step, wait.phase, action))
        text = f'{{"action": "{action}"}}'
        await self.store.send([NewSignal(f"{saga_id} {wait.name}", wait.name, saga_id, None, "", text, text)])

    def decided(self, step: str, phase: str, *actions: str) -> bool:
        """Whether a handler or a person has decided so about a step, perhaps without its being recorded."""
        by_handler = any((call.step, call.phase) == (step, phase) and call.decided in actions for call in self.calls)
        return by_handler or any((step, phase, action) in self.answers for action in actions)

    def ended_by(self, attempt: int) -> Deployment:
        """Return the deployment of the process that made this attempt."""
        return next(p.deployment for p in self.processes if p.claimed is not None and p.claimed.attempt == attempt)

    def behaviour(self, step: str, phase: str) -> str:
        count = sum((call.step, call.phase) == (step, phase) for call in self.calls)
        chosen = random.Random(f"{self.seed} {step} {phase} {count}").choice(BEHAVIOURS)
        if self.calm and chosen in ("dies", "stands_still"):
            return "ok"
        return chosen


Fault = tuple[str, str, str]
"""The method that it strikes, whether before or after that has had its effect, and what it is."""

FAULTS = {"away": StoreUnavailable, "refused": WriteRefused, "bug": RuntimeError}


class LossyStore:
    """The way to the store of somebody outside of all processes: one fault strikes."""

    def __init__(self, store: Any, fault: Fault | None) -> None:
        self._store = store
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if self._fault is None or name != self._fault[0]:
            return attribute
        _, when, kind = self._fault
        self._fault = None

        async def method(*args: Any, **values: Any) -> Any:
            if when == "after":
                await attribute(*args, **values)
            raise FAULTS[kind]("planned")

        return method


class FaultyStore:
    """A process's way to the store: a planned fault strikes before or after a method has had its effect."""

    def __init__(self, process: Process, store: Any) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in ("claim", "write", "renew", "load_attempts", "heartbeat", "load", "intervene"):
            return attribute

        async def method(*args: Any, **values: Any) -> Any:
            await self._strike(name, "before")
            answer = await attribute(*args, **values)
            await self._strike(name, "after")
            return answer

        return method

    async def open(self) -> None:
        """It is open already, for all processes."""

    async def close(self) -> None:
        """Others still use it."""

    async def _strike(self, name: str, when: str) -> None:
        await self._process.breathe()
        fault = self._process.next_fault(name, when)
        if fault == "dies":
            self._process.die()
        elif fault == "stands_still":
            self._process.stand_still()
        elif fault is not None:
            raise FAULTS[fault]("planned")
        await self._process.breathe()


class Process:
    """One process: a runtime of one deployment, which may die or stand still at any point.

    Args:
        company: It executes another run, too.
        lives: It still gives signs of life when its lease has ended.
    """

    def __init__(
        self,
        world: World,
        deployment: Deployment,
        faults: list[tuple[str, str, str]],
        *,
        company: bool = False,
        lives: bool = False,
    ) -> None:
        self.world, self.deployment, self._faults = world, deployment, list(faults)
        self.company, self.lives = company, lives
        self.number = len(world.processes)
        world.processes.append(self)
        self.dead = self.still = self._stood_still = False
        self._going_on = asyncio.Event()
        self._stopped = asyncio.Event()
        self.claimed: ClaimedRun | None = None
        self._execution: Any = None
        settings = Settings(
            storage_url="memory://", logging=False, metrics=False, backoff_seconds=0.001, backoff_max_seconds=0.002,
            max_failures=50, lease_seconds=30, renew_seconds=10, sync_threads=4,
        )  # fmt: skip
        self.runtime = SagazRuntime(
            settings, sagas=[self._saga()], app=self, open_store=lambda _: FaultyStore(self, world.store)
        )
        self.tasks: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[Any] | None = None

    # What may happen to it.

    def next_fault(self, name: str, when: str) -> str | None:
        if self._faults and self._faults[0][:2] == (name, when):
            return self._faults.pop(0)[2]
        return None

    def die(self) -> None:
        """Die, on whatever thread this is noticed."""
        self.dead = True
        self.runtime.loop.call_soon_threadsafe(self._stopped.set)

    def stand_still(self) -> None:
        self.still = self._stood_still = True
        self._stopped.set()

    async def breathe(self) -> None:
        """Go on only while the process does."""
        if self.still:
            await self._going_on.wait()
        if self.dead:
            await asyncio.Event().wait()

    # What it does.

    async def work(self) -> None:
        """Claim the run and execute it, until it is done here, or the process dies or stands still."""
        token = _owner.set(self)
        self._task = asyncio.create_task(self._work())
        _owner.reset(token)
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([self._task, stopped], return_when=asyncio.FIRST_COMPLETED)
        await cancel_all([stopped])
        if self.dead or not self.still:
            await self.end()
        await self._have_arrived()

    async def go_on(self) -> None:
        """Go on after having stood still for longer than the lease: by a clock that counts it, it has ended."""
        if self._execution is not None:
            self._execution._lease.ends_at = float("-inf")
        self.still = False
        self._stopped.clear()
        self._going_on.set()
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([self._task, stopped], return_when=asyncio.FIRST_COMPLETED)
        await cancel_all([stopped])
        self.die()
        await self.end()
        await self._have_arrived()

    async def _have_arrived(self) -> None:
        """Wait for what was sent to the store: writes go on in their thread, and one comes after the other."""
        await self.world.store.heartbeat("nobody", 0)

    async def _work(self) -> None:
        await self.runtime.open()
        loop = asyncio.get_running_loop()
        if self.company:
            await self._take_another()
        try:
            runs = await self.runtime.runs.claim(1) or await self.runtime.runs.claim(1, alone=[NAME])
        except (StoreUnavailable, WriteRefused, RuntimeError):
            return
        for run in runs:
            self.claimed = run
            # By the time before the claim was sent.
            self._execution = self.runtime.runs.park(run, float("-inf") if self._stood_still else loop.time())
            await asyncio.wait([self.runtime.runs.execute(self._execution)])

    async def _take_another(self) -> None:
        store, companion = self.world.store, f"companion-{self.number}"
        await store.insert([NewRun(companion, "Companion", "{}", "f")], 30)
        await store.claim(self.runtime.owner, 1, 30, {"Companion": ()}, saga_ids=[companion])

    async def end(self) -> None:
        """Leave nothing of the process behind, as its death does."""
        if not self.dead:
            await self.runtime.close()
            return
        while mine := {task for task in self.tasks if not task.done()}:
            await cancel_all(mine)
        self.runtime.pool.shutdown(wait=False)

    # The user's saga.

    def _saga(self) -> type[Saga]:
        members: dict[str, Any] = {"saga_name": NAME, "retry_steps": self.deployment.retries}
        for step in self.deployment.plan:
            members[f"do_{step.name}"] = self._forward(step)
            if step.compensated:
                members[f"undo_{step.name}"] = self._undo(step)
            if step.recovers and self._is_behind_pivot(step):
                members[f"redo_{step.name}"] = forward_recovery(step.name, max_retries=2)(self._recovery(step))
        return type(f"Model{self.deployment.number}", (Saga,), members)

    def _forward(self, step: StepPlan) -> Any:
        decorate = action(
            step.name, depends_on=list(step.depends_on), pivot=step.pivot, timeout_seconds=0.5, max_retries=1,
            on_enter=self._hook if step.bad_hook == "enter" else None,
            on_success=self._hook if step.bad_hook == "success" else None,
            on_failure=self._hook if step.bad_hook == "failure" else None,
        )  # fmt: skip
        return decorate(self._plain(step, "do") if step.fails else self._async(step, "do"))

    def _is_behind_pivot(self, step: StepPlan) -> bool:
        plan = {one.name: one for one in self.deployment.plan}
        return any(plan[name].pivot or self._is_behind_pivot(plan[name]) for name in step.depends_on)

    def _recovery(self, step: StepPlan) -> Any:
        async def handler(saga: Any, ctx: dict[str, Any], error: Exception) -> Any:
            if self.still:
                await self.breathe()
                raise ValueError("what comes of this is fenced out")
            await self.breathe()
            call, chosen = self._noted(step, "redo", ctx)
            await asyncio.sleep(0)
            if chosen == "stands_still":
                self.stand_still()
                await self.breathe()
            if chosen == "dies":
                self.die()
                await self.breathe()
            call.end = "ok"
            if chosen == "hostile":
                raise Hostile
            count = sum((one.step, one.phase) == (step.name, "redo") for one in self.world.calls)
            decided = random.Random(f"{self.world.seed} {step.name} {count}").choice([*RecoveryAction, None])
            call.decided = decided and decided.value
            ctx[f"recovered {step.name}"] = count
            return decided

        return handler

    def _undo(self, step: StepPlan) -> Any:
        kind = CompensationType.MANUAL if step.manual else CompensationType.MECHANICAL
        decorate = compensate(step.name, kind, on_compensate=self._hook if step.bad_hook == "compensate" else None)
        return decorate(self._plain(step, "undo") if step.undo_fails else self._async(step, "undo"))

    async def _hook(self, ctx: dict[str, Any], name: str, *more: Any) -> None:
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    def _noted(self, step: StepPlan, phase: str, context: dict[str, Any]) -> tuple[Call, str]:
        chosen = self.world.behaviour(step.name, phase)
        status, held, back = self.world.rows.look(self.runtime.owner, current_step().saga_id, step.name, phase)
        # Whether the process is alive was looked at when the function was entered; it may have died since.
        left = None if self.claimed is None else self.claimed.deadline_in
        overdue = left is not None and left < 0
        call = Call(self.number, self.deployment.number, step.name, phase, dict(context), status, held, back, overdue)
        self.world.calls.append(call)
        return call, chosen

    def _async(self, step: StepPlan, phase: str) -> Any:
        async def function(saga: Any, ctx: dict[str, Any]) -> Any:
            if self.still:
                # All of such a process stands still, so this call never began; and its lease has ended by then.
                await self.breathe()
                raise ValueError("what comes of this is fenced out")
            await self.breathe()
            call, chosen = self._noted(step, phase, ctx)
            await asyncio.sleep(0)
            if chosen == "stands_still":
                self.stand_still()
                await self.breathe()
                chosen = "ok"
            if chosen == "dies":
                self.die()
                await self.breathe()
            with left_or_late(call):
                if step.waits == "sleep":
                    await current_step().sleep(1000)
                elif step.waits is not None:
                    given = current_step().signal(step.name, timeout=1000 if step.waits == "timed" else None)
                    call.got = (await given)["n"]
            if call.end is not None:
                raise SignalTimeout("late")
            if chosen == "cancels_itself":
                call.end = "doubt"
                asyncio.current_task().cancel()  # type: ignore[union-attr]
                return None
            return self._end(step, call, chosen, ctx)

        return function

    def _plain(self, step: StepPlan, phase: str) -> Any:
        def function(saga: Any, ctx: dict[str, Any]) -> Any:
            if self.dead or self.still:
                # A thread of such a process does nothing either.
                raise SystemExit(3)
            call, chosen = self._noted(step, phase, ctx)
            # The loop may have turned it back between its beginning and this look.
            call.rolls_back = False
            if chosen == "dies":
                self.die()
                raise SystemExit(3)
            with left_or_late(call):
                if step.waits == "sleep":
                    current_step().sleep(1000)
                elif step.waits is not None:
                    given = current_step().signal(step.name, timeout=1000 if step.waits == "timed" else None)
                    call.got = given["n"]
            if call.end is not None:
                raise SignalTimeout("late")
            if chosen in ("forgot_await", "cancelled_error"):
                # A plain function around an async one, which is awaited; and no task that could be cancelled.
                call.end = "ok"
                return asyncio.sleep(0)
            return self._end(step, call, "ok" if chosen in ("stands_still", "cancels_itself") else chosen, ctx)

        return function

    def _end(self, step: StepPlan, call: Call, chosen: str, ctx: dict[str, Any]) -> Any:
        errors: dict[str, BaseException] = {
            "error": ValueError("no"), "hostile": Hostile(), "generator_exit": GeneratorExit(),
            "cancelled_error": asyncio.CancelledError(), "timeout_error": TimeoutError("away"),
        }  # fmt: skip
        if chosen in errors:
            call.end = "doubt" if chosen in ("timeout_error", "cancelled_error") else "raised"
            raise errors[chosen]
        if call.phase == "undo" and chosen in ("list", "unkept"):
            # What a compensation returns is nobody's concern.
            chosen = "ok"
        call.end = "ok" if chosen == "ok" else "doubt"
        if chosen == "ok":
            ctx["assigned"] = step.name
            return step.result
        values = {"list": [1], "unkept": {"object": object()}, "forgot_await": asyncio.sleep(0)}
        for value in values.values():
            if value is not values[chosen] and asyncio.iscoroutine(value):
                value.close()
        return values[chosen]

"""Random histories of one run: faults at every kind of place, deaths, standstills, decisions and deployments; after
each, the rules are checked from outside.

A failing history is printed by hypothesis, and the seed that replays it is SAGAZ_TEST_SEED. CI takes always the same.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from accounting import Accounts
from checker import check
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from random_sagas import StepPlan
from rows import MemoryRows, PostgresRows, SQLiteRows
from worlds import FAULTS, NAME, Deployment, Fault, LossyStore, Process, World, task_of_process

from sagaz_durable.engine.journal import writer as journal_writer
from sagaz_durable.engine.recovery.people import options
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.operations.operator import Operator
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.records import FINISHED, NewRun
from sagaz_integration_core.contract.waits import DECISIONS

SAGA_ID = "run-1"
WHOLE = "CI" in os.environ and sys.version_info[:2] == (3, 11)
COUNTS = {"memory": 2_000, "sqlite": 1_000, "postgres": 200} if WHOLE else {"memory": 60, "sqlite": 40, "postgres": 10}

_FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "write", "write", "write", "load"]),
        st.sampled_from(["before", "after"]),
        st.sampled_from(["away", "refused", "bug", "dies", "stands_still"]),
    ),
    max_size=3,
)

_LOST = st.none() | st.tuples(
    st.sampled_from(["load", "load_steps", "load_audit", "intervene", "intervene"]),
    st.sampled_from(["before", "after"]),
    st.sampled_from(list(FAULTS)),
)
_UNSENT = st.none() | st.tuples(st.just("send"), st.sampled_from(["before", "after"]), st.sampled_from(list(FAULTS)))


@st.composite
def plans(draw: Any) -> tuple[StepPlan, ...]:
    plan: list[StepPlan] = []
    if draw(st.booleans()):
        # Without it, few histories would recover anything.
        plan.append(replace(draw(steps("paid", ())), pivot=True, waits=None))
        plan.append(replace(draw(steps("sent", ("paid",))), recovers=True, waits=None))
    for number in range(draw(st.integers(0 if plan else 1, 5))):
        names = [step.name for step in plan]
        needed = draw(st.lists(st.sampled_from(names), unique=True, max_size=2)) if names else []
        plan.append(draw(steps(f"s{number}", tuple(needed))))
    return tuple(plan)


@st.composite
def steps(draw: Any, name: str, depends_on: tuple[str, ...]) -> StepPlan:
    return StepPlan(
        name,
        depends_on,
        # Here these two tell of a plain function, which is called in a thread.
        fails=draw(st.integers(0, 5)) == 0,
        undo_fails=draw(st.integers(0, 5)) == 0,
        compensated=draw(st.integers(0, 4)) > 0,
        pivot=draw(st.integers(0, 7)) == 0,
        result=draw(st.sampled_from([None, {}, {name: 1}, {"shared": name}])),
        bad_hook=draw(st.sampled_from([None, None, None, "enter", "success", "failure", "compensate"])),
        waits=draw(st.sampled_from([None, None, None, None, "signal", "timed", "sleep"])),
        recovers=draw(st.integers(0, 3)) > 0,
        manual=draw(st.integers(0, 5)) == 0,
    )


class Histories(RuleBasedStateMachine):
    """One run, from its start to its end."""

    kind = "memory"
    make: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(task_of_process)
        self.loop.set_exception_handler(lambda loop, context: None)

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    @initialize(plan=plans(), seed=st.integers(0, 2**32), retries=st.booleans(), limited=st.booleans())
    def start(self, plan: tuple[StepPlan, ...], seed: int, retries: bool, limited: bool) -> None:
        store, rows = self.do(type(self).make())
        self.world = World(store, rows, seed)
        self.world.deployments.append(Deployment(0, plan, retries))
        self.accounts = Accounts(self.world, SAGA_ID)
        self.still: list[Process] = []
        self.corrupted: tuple[str, str] | None = None
        deadline = 100_000.0 if limited else None
        self.do(store.insert([NewRun(SAGA_ID, NAME, '{"input":1}', "f", deadline=deadline)], 30))

    @rule(faults=_FAULTS, company=st.booleans(), lives=st.sampled_from([False, False, True]))
    def an_attempt(self, faults: list[tuple[str, str, str]], company: bool, lives: bool) -> None:
        self.do(self._attempt(faults, company=company, lives=lives))

    async def _attempt(self, faults: list[tuple[str, str, str]], *, company: bool = False, lives: bool = False) -> None:
        process = Process(self.world, self.world.deployments[-1], faults, company=company, lives=lives)
        await self.accounts.attempt(process)
        if process.still and not process.dead:
            self.still.append(process)

    # What may be drawn next must not depend on what threads were quicker: a rule that has nothing to do does nothing.

    @rule()
    def one_that_stood_still_goes_on(self) -> None:
        if self.still:
            self.do(self.accounts.go_on(self.still.pop()))

    @rule(change=st.sampled_from(["gain", "lose", "rename", "undo", "reorder"]), at=st.integers(0, 9))
    def a_deployment(self, change: str, at: int) -> None:
        old = self.world.deployments[-1]
        plan = _changed(list(old.plan), change, at, f"n{len(self.world.deployments)}")
        self.world.deployments.append(Deployment(len(self.world.deployments), tuple(plan), old.retries))

    @rule(at=st.integers(0, 9), fault=_UNSENT)
    def a_signal(self, at: int, fault: Fault | None) -> None:
        plan = self.world.deployments[-1].plan
        self.do(self.world.send(SAGA_ID, plan[at % len(plan)].name, fault))

    @rule(at=st.integers(0, 9))
    def a_person_is_asked_and_decides(self, at: int) -> None:
        self.do(self._answer(at))

    async def _answer(self, at: int) -> None:
        for wait in await self.world.store.load_waits(SAGA_ID):
            if wait.outcome is None and wait.name.startswith(DECISIONS):
                actions = options(wait.phase)
                await self.world.decide(SAGA_ID, wait, actions[at % len(actions)])

    @rule()
    def what_it_waits_for_is_over(self) -> None:
        self.world.rows.end_waits(SAGA_ID)

    @rule()
    def its_deadline_passes(self) -> None:
        self.world.rows.end_deadline(SAGA_ID)

    @rule(decision=st.sampled_from(["cancel", "retry", "run_now"]), fault=_LOST)
    def a_decision(self, decision: str, fault: Fault | None) -> None:
        self.do(self._decide(decision, fault))

    async def _decide(self, decision: str, fault: Fault | None) -> None:
        registry = SagaRegistry([Process(self.world, self.world.deployments[-1], [])._saga()])
        self.world.processes.pop()
        operator = Operator(LossyStore(self.world.store, fault), registry, actor="someone")
        before = await self.world.store.load(SAGA_ID)
        with suppress(*FAULTS.values()):
            await getattr(operator, decision)(SAGA_ID)
        self.accounts.decided |= (await self.world.store.load(SAGA_ID)).version != before.version

    @rule(at=st.integers(0, 9))
    def a_stored_result_is_damaged(self, at: int) -> None:
        if self.corrupted is not None:
            return
        step = self.world.deployments[-1].plan[at % len(self.world.deployments[-1].plan)].name
        before = self.world.rows.corrupt(SAGA_ID, step, "no JSON")
        self.corrupted = None if before is None else (step, before)

    @rule()
    def and_mended(self) -> None:
        self._mend()

    def _mend(self) -> None:
        if self.corrupted is not None:
            self.world.rows.corrupt(SAGA_ID, *self.corrupted)
            self.corrupted = None

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.do(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        self._mend()
        self.world.calm = True
        while self.still:
            await self.accounts.go_on(self.still.pop())
        run = await self.world.store.load(SAGA_ID)
        for count in range(60):
            if run.status in FINISHED:
                break
            await self._answer(count)
            for wait in await self.world.store.load_waits(SAGA_ID):
                if wait.outcome is None and wait.name and not wait.name.startswith(DECISIONS):
                    await self.world.send(SAGA_ID, wait.name)
            self.world.rows.end_waits(SAGA_ID)
            if count == 30 and len(self.world.deployments) > 1:
                self.world.deployments.append(replace(self.world.deployments[0], number=len(self.world.deployments)))
            await self._attempt([])
            run = await self.world.store.load(SAGA_ID)
        steps = await self.world.store.load_steps(SAGA_ID)
        try:
            check(self.world, run, steps)
        finally:
            for process in self.still:
                process.die()
                await process.end()
            await self.world.store.close()
            getattr(self.world.rows, "close", lambda: None)()


def _changed(plan: list[StepPlan], change: str, at: int, name: str) -> list[StepPlan]:
    at %= len(plan)
    step = plan[at]
    if change == "gain":
        plan[at] = replace(step, depends_on=(*step.depends_on, name))
        plan.insert(at, StepPlan(name, step.depends_on, result={name: 1}))
    elif change == "lose" and len(plan) > 1:
        plan = [replace(one, depends_on=tuple(n for n in one.depends_on if n != step.name)) for one in plan]
        del plan[at]
    elif change == "rename":
        plan = [replace(one, depends_on=tuple(name if n == step.name else n for n in one.depends_on)) for one in plan]
        plan[at] = replace(step, name=name, depends_on=plan[at].depends_on)
    elif change == "undo":
        plan[at] = replace(step, compensated=not step.compensated)
    elif change == "reorder":
        # Whatever came before comes behind, and the other way round.
        names = [one.name for one in plan]
        turned: dict[str, tuple[str, ...]] = {n: tuple(o.name for o in plan if n in o.depends_on) for n in names}
        plan = [replace(one, depends_on=turned[one.name]) for one in plan]
    return plan


async def _memory() -> tuple[Any, Any]:
    store = create_store(Settings(storage_url="memory://"))
    await store.open()
    return store, MemoryRows(store)


def _sqlite(folder: Any) -> Any:
    async def make() -> tuple[Any, Any]:
        path = folder / f"{os.urandom(8).hex()}.db"
        store = create_store(Settings(storage_url=f"sqlite:///{path}"))
        await store.open()
        return store, SQLiteRows(str(path))

    return make


def _postgres(url: str) -> Any:
    async def make() -> tuple[Any, Any]:
        store = create_store(Settings(storage_url=url, migrate=True, pool_size=2))
        await store.open()
        rows = PostgresRows(url)
        for table in ("run", "step", "outbox", "audit", "attempt", "wait", "signal"):
            rows._execute(f"DELETE FROM sagaz_{table}")
        return store, rows

    return make


@pytest.mark.filterwarnings("default")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_after_any_history_the_end_of_a_run_is_true(kind, tmp_path, request, monkeypatch):
    monkeypatch.setattr(journal_writer, "_RETRY_SECONDS", (0.001,))
    make = _memory
    if kind == "sqlite":
        make = _sqlite(tmp_path)
    elif kind == "postgres":
        make = _postgres(request.getfixturevalue("postgres_url"))
    machine = type("History", (Histories,), {"kind": kind, "make": staticmethod(make)})
    number = int(os.environ.get("SAGAZ_TEST_SEED", "1" if WHOLE else random.randrange(2**32)))
    options = settings(
        max_examples=COUNTS[kind], stateful_step_count=10, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    try:
        run_state_machine_as_test(seed(number)(machine), settings=options)
    except BaseException as error:
        error.add_note(f"SAGAZ_TEST_SEED={number} replays it.")
        raise

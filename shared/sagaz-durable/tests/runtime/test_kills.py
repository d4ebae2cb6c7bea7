"""SIGKILL at every commit of a run, before and after it, and inside every step; what the ledger then shows."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections import Counter

import pytest
from killing import KillingStore, end_leases, kill_here, note, read, settings_for
from sagaz import Saga, action, compensate

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.context.current_step import current_step
from sagaz_integration_core.contract.listings import RunFilter

STEPS = ("reserve", "charge", "pack", "ship")


def four_steps(ledger, *, fails, kill_at=None):
    async def work(phase, ctx):
        step = current_step().step
        note(ledger, "begin")
        if kill_at == f"{step} {phase} begin":
            kill_here()
        await asyncio.sleep(0)
        note(ledger, "end")
        if kill_at == f"{step} {phase} end":
            kill_here()
        if phase == "do" and step == "ship" and fails:
            raise ValueError("no truck")
        return {step: ctx.get("n", 0)}

    def method(decorate, phase):
        async def call(self, ctx):
            return await work(phase, ctx)

        return decorate(call)

    body = {"saga_name": "four"}
    for index, name in enumerate(STEPS):
        body[f"do_{name}"] = method(action(name, depends_on=list(STEPS[max(0, index - 1) : index])), "do")
        body[f"undo_{name}"] = method(compensate(name), "undo")
    return type("Four", (Saga,), body)


def run_until_killed(path, ledger, fails, commit, inside):
    async def main():
        runtime = SagazRuntime(
            settings_for(path), open_store=lambda settings: KillingStore(create_store(settings), commit)
        )
        await runtime.open()
        await bind(runtime, four_steps(ledger, fails=fails, kill_at=inside)).run({"n": 1})

    asyncio.run(main())


POINTS = [((n, when), None) for n in range(1, 7) for when in ("before", "after")]
POINTS += [(None, f"{step} do {when}") for step in STEPS for when in ("begin", "end")]
UNDO_POINTS = [((n, when), None) for n in range(5, 11) for when in ("before", "after")]
UNDO_POINTS += [(None, f"{step} undo {when}") for step in STEPS[:3] for when in ("begin", "end")]


@pytest.fixture(scope="session")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sagaz", __name__])
    return context


def crash(processes, *args):
    process = processes.Process(target=run_until_killed, args=args)
    process.start()
    process.join(30)
    return process.exitcode


async def resume(path, ledger, fails):
    """Run a worker as another process would, when every lease has ended and until nothing is due."""
    runtime = SagazRuntime(settings_for(path), sagas=[four_steps(ledger, fails=fails)], worker=True)
    await runtime.open()
    end_leases(path)
    await runtime.begin()
    try:
        async with asyncio.timeout(20):
            while await runtime.store.find(RunFilter(statuses=("pending", "executing", "compensating"))):
                await asyncio.sleep(0.02)
        [*records] = await runtime.store.find(RunFilter())
        return records
    finally:
        await runtime.close()


@pytest.mark.parametrize(
    ("commit", "inside", "fails"),
    [(*point, False) for point in POINTS] + [(*point, True) for point in UNDO_POINTS],
    ids=str,
)
async def test_a_killed_run_is_finished_elsewhere_and_nothing_done_is_done_again(
    processes, tmp_path, commit, inside, fails
):
    path, ledger = tmp_path / "sagaz.db", tmp_path / "ledger"
    exitcode = await asyncio.to_thread(crash, processes, path, ledger, fails, commit, inside)
    if commit == (1, "before"):
        assert exitcode == -signal.SIGKILL
        assert await resume(path, ledger, fails) == []
        return
    died = exitcode == -signal.SIGKILL
    assert died or commit is not None, "every point inside a step is reached"
    before = len(read(ledger))
    [record] = await resume(path, ledger, fails)
    assert record.status == ("rolled_back" if fails else "completed")
    check(read(ledger), before, record.saga_id, fails)


def check(lines, before, saga_id, fails):
    calls = Counter((step, phase) for what, step, phase, *_ in lines if what == "begin")
    in_doubt = [key for key, count in calls.items() if count > 1]
    assert len(in_doubt) <= 1, "at most the step that was in doubt at the kill is called again"
    assert all(count <= 2 for count in calls.values())
    for step, phase in in_doubt:
        last = [line for line in lines[:before] if line[0] == "begin"][-1]
        assert (last[1], last[2]) == (step, phase), "it is the last one that had begun"
    assert {step for step, phase in calls if phase == "do"} == set(STEPS)
    # The step that fails is undone too if the kill left it in doubt: its first call may have had its effect.
    to_undo = STEPS if ("ship", "do") in in_doubt else STEPS[:3]
    assert {step for step, phase in calls if phase == "undo"} == (set(to_undo) if fails else set())
    for _, step, phase, _, key in lines:
        assert key == (f"{saga_id}:{step}" if phase == "do" else f"{saga_id}:{step}:undo")
    undone = [step for what, step, phase, *_ in lines if (what, phase) == ("begin", "undo")]
    assert list(dict.fromkeys(undone)) == (list(reversed(to_undo)) if fails else [])

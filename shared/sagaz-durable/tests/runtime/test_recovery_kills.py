"""SIGKILL at every commit of a run that recovers behind its pivot, or that a person compensates; and inside handlers.

What was decided before the kill stays decided, and what was in doubt is called once more, and nothing else.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from contextlib import suppress

import pytest
from killing import KillingStore, end_leases, kill_here, note, read, settings_for
from sagaz import CompensationType, RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.operations.operator import Operator
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.errors import RunWaiting

FORWARD = [("reserve", "do", None), ("charge", "do", None), ("ship", "do", None), ("ship", "redo", None)]
BACK = [("charge", "undo", None), ("reserve", "undo", None)]

# By what the handler decides: the calls, the carrier that each sees, what a person decides, and the end.
COURSES = {
    "retry_alt": ([*FORWARD, ("ship", "do", "ox"), ("notify", "do", "ox")], None, "completed"),
    "skip": ([*FORWARD, ("notify", "do", None)], None, "completed"),
    "compensate": ([*FORWARD, *BACK], None, "rolled_back"),
    "manual": (
        [*FORWARD, ("ship", "do", "kim"), ("notify", "do", "kim")],
        {"action": "retry", "context": {"carrier": "kim"}},
        "completed",
    ),
    "by_hand": ([*FORWARD[:3], BACK[1]], {"action": "done"}, "rolled_back"),
    "run": ([*FORWARD[:3], *BACK], {"action": "run"}, "rolled_back"),
}


def saga_of(ledger, course, kill_at=None):
    by_hand = course in ("by_hand", "run")

    def called(phase, name, ctx, moment="begin"):
        note(ledger, moment, ctx.get("carrier"))
        if kill_at == f"{name} {phase} {moment}":
            kill_here()

    async def step(phase, name, ctx):
        called(phase, name, ctx)
        await asyncio.sleep(0)
        called(phase, name, ctx, "end")
        if phase == "do" and name == "ship" and "carrier" not in ctx:
            raise OSError("no carrier")
        return

    class Kills(Saga):
        saga_name = "kills"

        @action("reserve")
        async def reserve(self, ctx):
            return await step("do", "reserve", ctx)

        @compensate("reserve")
        async def release(self, ctx):
            await step("undo", "reserve", ctx)

        @action("charge", depends_on=["reserve"], pivot=not by_hand)
        async def charge(self, ctx):
            return await step("do", "charge", ctx)

        @compensate("charge", compensation_type=CompensationType.MANUAL if by_hand else CompensationType.SEMANTIC)
        async def refund(self, ctx):
            await step("undo", "charge", ctx)

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx):
            return await step("do", "ship", ctx)

        @action("notify", depends_on=["ship"])
        async def notify(self, ctx):
            return await step("do", "notify", ctx)

        if not by_hand:

            @forward_recovery("ship")
            def recover(self, ctx, error):
                called("redo", "ship", ctx)
                ctx["carrier"] = "ox"
                called("redo", "ship", {}, "end")
                if course == "retry_alt":
                    return RecoveryAction.RETRY_WITH_ALTERNATE
                del ctx["carrier"]
                return RecoveryAction(course)

    return Kills


def run_until_killed(path, ledger, course, commit, inside):
    async def main():
        runtime = SagazRuntime(
            settings_for(path), open_store=lambda settings: KillingStore(create_store(settings), commit)
        )
        await runtime.open()
        with suppress(RunWaiting, OSError):
            await bind(runtime, saga_of(ledger, course, inside)).run({})

    asyncio.run(main())


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


async def resume(path, ledger, course):
    """Run a worker as another process would, and decide as a person when it asks; return the run that has ended."""
    _, decision, _ = COURSES[course]
    runtime = SagazRuntime(settings_for(path), sagas=[saga_of(ledger, course)], worker=True)
    await runtime.open()
    end_leases(path)
    await runtime.begin()
    person = Operator(runtime.store, runtime.registry, actor="kim")
    try:
        async with asyncio.timeout(20):
            while True:
                [run] = await runtime.store.find(RunFilter())
                if run.status in FINISHED:
                    return run
                for wait in await runtime.store.load_waits(run.saga_id):
                    if wait.outcome is None and decision is not None:
                        await person.send_signal(runtime.settings, wait.name, decision, saga_id=run.saga_id)
                await asyncio.sleep(0.02)
    finally:
        await runtime.close()


def commits(last, first=2):
    return [((number, when), None) for number in range(first, last + 1) for when in ("before", "after")]


def inside(*places):
    return [(None, f"{place} {moment}") for place in places for moment in ("begin", "end")]


POINTS = {
    "retry_alt": [*commits(7, 4), *inside("ship redo", "ship do", "notify do")],
    "skip": [*commits(6, 4), *inside("ship redo")],
    "compensate": [*commits(8, 4), *inside("ship redo", "charge undo")],
    "manual": [*commits(5, 4), *inside("ship redo")],
    "by_hand": [*commits(5, 4)],
    "run": [*commits(5, 4)],
}


@pytest.mark.parametrize(
    ("course", "commit", "inside"), [(name, *point) for name, points in POINTS.items() for point in points], ids=str
)
async def test_a_killed_recovery_goes_on_elsewhere_with_what_was_decided(processes, tmp_path, course, commit, inside):
    path, ledger = tmp_path / "sagaz.db", tmp_path / "ledger"
    exitcode = await asyncio.to_thread(crash, processes, path, ledger, course, commit, inside)
    assert exitcode == -signal.SIGKILL, "every point is reached"
    before = [line for line in read(ledger) if line[0] == "begin"]
    run = await resume(path, ledger, course)
    expected, _, status = COURSES[course]
    assert run.status == status, run.error
    begun = [line for line in read(ledger) if line[0] == "begin"]
    calls = [(step, phase, carrier) for _, step, phase, _, _, carrier in begun]
    # The call that was under way at the kill, or whose end was not recorded, is made once more; nothing else is.
    last = len(before)
    again = [*expected[:last], expected[last - 1], *expected[last:]]
    assert calls == again or (calls == expected and inside is None), f"after {last} calls"
    keys = {(step, phase): key for _, step, phase, _, key, _ in begun}
    assert all(keys[step, phase] == key for _, step, phase, _, key, _ in begun)
    assert keys.get(("ship", "redo"), f"{run.saga_id}:ship:redo") == f"{run.saga_id}:ship:redo"


async def test_a_handler_whose_decision_is_recorded_is_not_called_again(processes, tmp_path):
    path, ledger = tmp_path / "sagaz.db", tmp_path / "ledger"
    # The fifth commit journals the decision together with the beginning of what follows.
    await asyncio.to_thread(crash, processes, path, ledger, "skip", (5, "after"), None)
    await resume(path, ledger, "skip")
    assert [line[2] for line in read(ledger) if line[0] == "begin"] == ["do", "do", "do", "redo", "do"]

"""Workers that are killed while all runs wait, and come back with another version: a step is gone, and one is new.

A third of the runs waits in a step that both versions have, a third in the one that is gone, and a third in a
compensation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FINISHED, RunRecord, RunStatus
from storm.clients import Clients
from storm.fleet import Fleet, Framework
from storm.plan import Order, Plan, Signal
from storm.sagas import NEXT_STEPS
from support import ledger
from support.waiting import until

__all__ = ["Deployed", "deploy", "untrue"]

_COUNT = 30
_WAITS = ("charge do", "pack do", "charge undo")
_SECONDS = 30.0


@dataclass
class Deployed:
    """What was seen.

    Attributes:
        before: What the ledger had when the workers were killed.
        after: What it got since then.
    """

    runs: list[RunRecord]
    before: list[ledger.Line]
    after: list[ledger.Line]


async def deploy(framework: Framework, folder: Path, storage_url: str) -> Deployed:
    """Have runs wait, kill the workers, start those of the next version, and wait for all ends.

    Half of the signals are sent to nobody's ears, before the next version is there.
    """
    # A run is failed for want of a step once so many have looked for it in vain: another worker might have had it.
    framework = replace(framework, env={**framework.env, "SAGAZ_MAX_FAILURES": "3"})
    fleet = Fleet(Plan(workers=2, webs=1, sagas=_COUNT, seconds=0), framework, folder, storage_url)
    clients = Clients([_order(number) for number in range(_COUNT)], fleet.ports)
    store = create_store(Settings(storage_url=storage_url))
    try:
        fleet.start()
        await store.open()

        async def all_have(*statuses: RunStatus) -> list[RunRecord]:
            runs = await store.find(RunFilter(limit=1_000))
            return runs if [run.status in statuses for run in runs] == [True] * _COUNT else []

        clients.send_all(0)
        await until(lambda: all_have("waiting"), "every run waits", _SECONDS)
        before = ledger.read(folder / "ledger")
        for worker in fleet.workers:
            worker.kill()
        _signal(clients, range(0, _COUNT, 2))
        for worker in fleet.workers:
            worker.env = {**worker.env, "STORM_VERSION": "next"}
            worker.start()
        _signal(clients, range(1, _COUNT, 2))
        runs = await until(lambda: all_have(*FINISHED), "every run has a final status", _SECONDS)
        return Deployed(runs, before, ledger.read(folder / "ledger")[len(before) :])
    finally:
        await store.close()
        fleet.close()
        clients.close()


def _order(number: int) -> Order:
    waits = _WAITS[number % 3]
    return Order(number, "deferred", 0.0, "ship" if "undo" in waits else None, (), None, insists=True, waits=(waits,))


def _signal(clients: Clients, numbers: range) -> None:
    clients.signal_now([Signal(f"{number}-0", f"order-{number}", 0.0, senders=2) for number in numbers])


def untrue(deployed: Deployed) -> Iterator[str]:
    """Yield what contradicts the guarantees."""
    for run in deployed.runs:
        number = json.loads(run.context)["number"]
        before, after = ledger.of_saga(deployed.before, run.saga_id), ledger.of_saga(deployed.after, run.saga_id)
        took = f"took {number}-0"
        called = [f"{line.step} {line.phase} {line.event}" for line in after]
        waits = _WAITS[number % 3]
        if waits == "charge do":
            rest = [f"{step} do {event}" for step in NEXT_STEPS[2:] for event in ("begin", "end")]
            expected, status = ["charge do begin", f"charge do {took}", "charge do end", *rest], "completed"
        elif waits == "charge undo":
            expected = ["charge undo begin", f"charge undo {took}", "charge undo end"]
            expected, status = [*expected, "reserve undo begin", "reserve undo end"], "rolled_back"
        else:
            expected, status = [], "failed"
        if (called, run.status) != (expected, status):
            yield f"run {run.saga_id}, which waited in {waits}, ended as {run.status} ({run.error}) after {called}"
        if status == "failed" and "the steps pack" not in (run.error or ""):
            yield f"run {run.saga_id} failed without naming the step that is gone: {run.error}"
        if [line.event for line in before][-1:] != ["left"]:
            yield f"run {run.saga_id} had not left its call: {before[-1:]}"

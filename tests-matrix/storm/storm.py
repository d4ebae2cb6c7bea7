"""One storm from beginning to end: start everything, let it rage, let it calm down, and hand over what was seen."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import ACTIVE, RunRecord
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import SignalFilter, SignalRecord
from sagaz_integration_core.contract.webhooks import WebhookFilter, WebhookRecord
from storm.clients import Clients, Sent, Signalled
from storm.fleet import Fleet, Framework
from storm.plan import Plan
from storm.webhooks import unanswered
from support import ledger
from support.waiting import until

__all__ = ["Evidence", "rage"]

_CALM_SECONDS = 240.0

Row = TypeVar("Row")


@dataclass
class Evidence:
    """What was seen of a storm, for the checks and the summary.

    Attributes:
        deaths: When each process died by SIGKILL, its own or ours.
        outages: When the database was unreachable.
        exits: Pid, time and exit code of processes that ended otherwise, before they were asked to.
        exit_codes: Those after SIGTERM, at the end.
        struck: How often workers and servers were killed at work, by an event or from outside.
        phases: When each phase ended, in seconds after the beginning.
        stops: Pid and times of each process that was stopped, and went on.
        locks: Which rows were locked by somebody else, and when, if anybody did.
        refused: When the database refused what was written to the journal, if it did.
        signalled: What became of the signals, as their senders know.
        signals: All rows of signals, taken or not.
        webhooks: All rows of events that were delivered as webhooks.
        unanswered: Which events have killed the server that had recorded them before it answered: its pid, and when.
        broker_outages: When Celery's broker was away, if there is one: its workers may end of that.
    """

    plan: Plan
    sent: list[Sent]
    runs: list[RunRecord]
    lines: list[ledger.Line]
    deaths: dict[int, float]
    outages: list[tuple[float, float]]
    exits: list[tuple[int, float, int]]
    exit_codes: list[int]
    kills: int
    phases: dict[str, float]
    signalled: list[Signalled] = field(default_factory=list)
    signals: list[SignalRecord] = field(default_factory=list)
    webhooks: list[WebhookRecord] = field(default_factory=list)
    unanswered: dict[str, tuple[int, float]] = field(default_factory=dict)
    broker_outages: list[tuple[float, float]] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    stops: list[tuple[int, float, float]] = field(default_factory=list)
    locks: list[tuple[str, float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)


async def rage(
    plan: Plan,
    framework: Framework,
    folder: Path,
    storage_url: str,
    restart_database: Callable[[], None] | None = None,
    mischief: Callable[[threading.Event], None] | None = None,
) -> Evidence:
    """Run a storm.

    Args:
        folder: Where ledger, logs and notes are written; copied to SAGAZ_TEST_STORM_DIR at the end, whatever it is.
        restart_database: Crashes the database and starts it again; called ``plan.restarts`` times.
        mischief: What else is done during the storm, in a thread, until the event is set.
    """
    phases: dict[str, float] = {}
    fleet = Fleet(plan, framework, folder, storage_url)
    clients = Clients(plan.orders(), fleet.ports, plan.signals() if plan.waits else ())
    try:
        fleet.start()
        began = time.monotonic()
        outages = _storm(
            plan, fleet, clients, restart_database or (lambda: None), mischief or threading.Event.wait, began
        )
        phases["every client was answered"] = time.monotonic() - began
        clients.save(folder / "requests.jsonl")
        async with _opened(storage_url) as store:
            await _calm(fleet, store)
            phases["every run had ended"] = time.monotonic() - began
            clients.deliver_late()
            phases["the last events were delivered"] = time.monotonic() - began
            clients.save(folder / "requests.jsonl")
            runs, signals, webhooks = await _rows(store)
        exit_codes = fleet.leave()
        phases["every process had left"] = time.monotonic() - began
        lines = ledger.read(folder / "ledger")
        died = unanswered(folder)
        deaths = {line.pid: line.at for line in lines if line.event == "suicide"} | dict(died.values())
        deaths |= dict(fleet.kills)
        struck = fleet.struck + Counter(server=len(died))
        return Evidence(
            plan, clients.sent, runs, lines, deaths, outages, fleet.exits, exit_codes, len(fleet.kills),
            phases, struck=struck, stops=fleet.stops, signalled=clients.signalled, signals=signals,
            webhooks=webhooks, unanswered=died,
        )  # fmt: skip
    finally:
        clients.stop()
        fleet.close()
        clients.close()
        fleet.save()
        _keep(folder)


def _storm(
    plan: Plan,
    fleet: Fleet,
    clients: Clients,
    restart: Callable[[], None],
    mischief: Callable[[threading.Event], object],
    began: float,
) -> list[tuple[float, float]]:
    """Send, kill and restart side by side until the storm's time is over, and wait for the clients' last answers."""
    over, answered = threading.Event(), threading.Event()
    outages: list[tuple[float, float]] = []
    with (
        _beside(lambda: _tend(fleet, answered), answered),
        _beside(lambda: clients.send_all(began), None),
        _beside(lambda: clients.signal_all(began), None),
        _beside(lambda: mischief(over), over),
        _beside(lambda: _kill(plan, fleet, over), over),
        _beside(lambda: _stop(plan, fleet, over), over),
        _beside(lambda: _restart(plan, restart, began, outages, over), None),
    ):
        over.wait(max(0.0, began + plan.seconds - time.monotonic()))
    return outages


@contextmanager
def _beside(work: Callable[[], None], over: threading.Event | None) -> Iterator[None]:
    """Do something in a thread during the block; ``over`` asks for its end, which is waited for."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        if over is not None:
            over.set()
        thread.join()
    if raised:
        raise raised[0]


def _kill(plan: Plan, fleet: Fleet, over: threading.Event) -> None:
    for pause, victim in plan.kills():
        if over.wait(pause):
            return
        fleet.kill(victim)


def _stop(plan: Plan, fleet: Fleet, over: threading.Event) -> None:
    for pause, victim, seconds in plan.stops():
        if over.wait(pause):
            return
        fleet.stop(victim, seconds, over)


def _tend(fleet: Fleet, over: threading.Event) -> None:
    while not over.wait(0.1):
        fleet.tend()


def _restart(
    plan: Plan, restart: Callable[[], None], began: float, outages: list[tuple[float, float]], over: threading.Event
) -> None:
    for at in plan.restart_times():
        if over.wait(max(0.0, began + at - time.monotonic())):
            return
        down = time.monotonic()
        restart()
        outages.append((down, time.monotonic()))


@asynccontextmanager
async def _opened(storage_url: str) -> AsyncIterator[SagaStore]:
    store = create_store(Settings(storage_url=storage_url))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _calm(fleet: Fleet, store: SagaStore) -> None:
    """Wait without kills until no run is active."""

    async def ended() -> bool:
        fleet.tend()
        return not await store.find(RunFilter(statuses=ACTIVE, limit=1))

    await until(ended, "every run has a final status", _CALM_SECONDS)


async def _rows(store: SagaStore) -> tuple[list[RunRecord], list[SignalRecord], list[WebhookRecord]]:
    """Return all runs, signals and webhooks."""
    return (
        await _all(lambda last: store.find(RunFilter(limit=500, before=last and (last.created_at, last.saga_id)))),
        await _all(
            lambda last: store.find_signals(
                SignalFilter(state=None, limit=500, before=last and (last.created_at, last.id))
            )
        ),
        await _all(
            lambda last: store.find_webhooks(WebhookFilter(limit=500, before=last and (last.received_at, last.id)))
        ),
    )


async def _all(page_after: Callable[[Any], Awaitable[list[Row]]]) -> list[Row]:
    found: list[Row] = []
    while page := await page_after(found[-1] if found else None):
        found.extend(page)
    return found


def _keep(folder: Path) -> None:
    if kept := os.environ.get("SAGAZ_TEST_STORM_DIR"):
        shutil.copytree(folder, Path(kept) / folder.name, dirs_exist_ok=True)

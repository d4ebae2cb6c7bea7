"""Short words for the records that the cases pass around, and for the runs that they are about."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import NAMESPACE_OID, uuid4, uuid5

from sagaz_integration_core.contract.events import EventOutcome, EventWrite, NewEvent, OutboxRecord
from sagaz_integration_core.contract.records import (
    AttemptOutcome,
    ClaimedRun,
    FirstSteps,
    NewRun,
    Phase,
    Release,
    RunRecord,
    RunWrite,
    StepStatus,
    StepWrite,
)
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import NewSignal, WaitRecord, WaitWrite

T = TypeVar("T")

__all__ = [
    "AT_ONCE",
    "KNOWN",
    "LEASE",
    "LONG_AGO",
    "SHORT",
    "SOON",
    "alone_ones",
    "claim_all",
    "claimed",
    "eventually",
    "is_due",
    "load",
    "new",
    "new_id",
    "outcomes",
    "own",
    "park",
    "parked",
    "record_end",
    "settle",
    "signal",
    "step",
    "suspected",
    "suspects",
    "taken",
    "taken_one",
    "told",
    "wait",
    "waits_of",
    "write",
]

KNOWN: FirstSteps = {"OrderSaga": (), "OtherSaga": (), "LateSaga": (), "A": (), "B": ()}
"""The sagas that a claimer knows, of which nothing is journaled in advance."""

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SOON = datetime.now(UTC) + timedelta(days=1)

LEASE = 30.0
SHORT = 0.2
"""A lease that a test waits for the end of."""


def new_id() -> str:
    """Return the id of a run that is not there yet."""
    return str(uuid4())


def new(saga_id: str | None = None, name: str = "OrderSaga", **values: Any) -> NewRun:
    """Return a run to insert."""
    return NewRun(
        saga_id or new_id(), name, values.pop("context", '{"n": 1}'), values.pop("fingerprint", "f1"), **values
    )


def step(name: str, status: StepStatus, phase: Phase = "do", **values: Any) -> StepWrite:
    """Return a journal entry to write."""
    return StepWrite(name, phase, status, **values)


def told(saga_id: str, *event_ids: str) -> tuple[EventWrite, ...]:
    """Return events of a run to write."""
    return tuple(EventWrite(f"{saga_id}:{e}", "orders", json.dumps({"event": e}), '{"k": "v"}') for e in event_ids)


def own(event_id: str, key: str = "orders-1", topic: str = "orders") -> NewEvent:
    """Return an event of the application to insert."""
    return NewEvent(event_id, key, topic, json.dumps({"event": event_id}), '{"k": "v"}')


async def settle(store: SagaStore, events: Iterable[OutboxRecord], status: Any = "sent", **values: Any) -> None:
    """Tell what became of leased events."""
    await store.settle_events([EventOutcome(event.id, status, **values) for event in events])


def write(run: ClaimedRun, owner: str = "w1", **values: Any) -> RunWrite:
    """Return a write of a run that this owner holds."""
    return RunWrite(run.saga_id, owner, run.attempt, **values)


async def claimed(store: SagaStore, owner: str = "w1", lease: float = LEASE, **values: Any) -> ClaimedRun:
    """Insert one run and claim it."""
    run = new(**values)
    await store.insert([run], LEASE)
    (claim,) = await store.claim(owner, 1, lease, {run.saga_name: ()}, saga_ids=[run.saga_id])
    return claim


async def claim_all(store: SagaStore, owner: str = "w1", lease: float = LEASE) -> list[ClaimedRun]:
    """Claim whatever is due."""
    return await store.claim(owner, 1000, lease, KNOWN)


async def load(store: SagaStore, saga_id: str) -> RunRecord:
    """Return a run that is there."""
    record = await store.load(saga_id)
    assert record is not None
    return record


async def record_end(store: SagaStore, status: Any = "completed", **values: Any) -> str:
    """Insert a run and see it to its end."""
    run = await claimed(store, **values)
    assert await store.write([write(run, status=status)]) == [True]
    return run.saga_id


async def eventually(get: Callable[[], Awaitable[T | None]], seconds: float = 10.0) -> T:
    """Ask again until the answer is true; return it."""
    deadline = time.monotonic() + seconds
    while not (answer := await get()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return answer


def wait(name: str = "paid", step: str = "a", phase: Phase = "do", n: int = 0, **values: Any) -> WaitWrite:
    """Return a wait to register."""
    return WaitWrite(step, phase, name, n, **values)


def signal(
    name: str = "paid", saga_id: str | None = None, key: str | None = None, signal_id: str = "", **values: Any
) -> NewSignal:
    """Return a signal to send."""
    its_id = str(uuid5(NAMESPACE_OID, f"{name}/{saga_id}/{key}/{signal_id}"))
    given = {"payload": '{"n": 1}', "fingerprint": "f", **values}
    return NewSignal(its_id, name, saga_id, key, signal_id, **given)


async def parked(store: SagaStore, *waits: WaitWrite, owner: str = "w1", **values: Any) -> ClaimedRun:
    """Insert a run, claim it, and have it wait."""
    run = await claimed(store, owner, **values)
    await park(store, run, *waits, owner=owner)
    return run


async def park(store: SagaStore, run: ClaimedRun, *waits: WaitWrite, owner: str = "w1", **values: Any) -> None:
    """Have a claimed run wait."""
    steps = tuple(step(one.step, "waiting", one.phase) for one in waits)
    release = Release(waits=True)
    assert await store.write([write(run, owner, steps=steps, waits=waits, release=release, **values)]) == [True]


async def waits_of(store: SagaStore, run: ClaimedRun) -> dict[tuple[str, str, int], WaitRecord]:
    """Return what a run waits for, by step, name and number."""
    return {(one.step, one.name, one.n): one for one in await store.load_waits(run.saga_id)}


# Runs whose owner died.

AT_ONCE = 0.001
"""A lease whose end nobody has to wait for, and the longest time after which a suspect comes back."""


async def taken(
    store: SagaStore, owner: str = "w2", lease: float = LEASE, sagas: FirstSteps = KNOWN, **values: Any
) -> list[ClaimedRun]:
    """Claim until something is due."""
    return await eventually(lambda: store.claim(owner, 100, lease, sagas, **values))


async def taken_one(
    store: SagaStore, saga_id: str, owner: str = "w2", lease: float = LEASE, **values: Any
) -> ClaimedRun:
    """Claim one run as soon as it is due."""
    (run,) = await taken(store, owner, lease, saga_ids=[saga_id], **values)
    return run


async def suspects(store: SagaStore, count: int = 2, owner: str = "w1", **write_values: Any) -> list[RunRecord]:
    """Make runs whose process died while it had several."""
    runs = [await claimed(store, owner, AT_ONCE) for _ in range(count)]
    await store.write([write(run, owner, **write_values) for run in runs])
    return await suspected(store, owner, [run.saga_id for run in runs])


async def alone_ones(store: SagaStore, count: int = 2) -> list[RunRecord]:
    """Make runs that two deaths have made suspects of."""
    saga_ids = [run.saga_id for run in await suspects(store, count, "first")]
    for saga_id in saga_ids:
        await taken_one(store, saga_id, "second", AT_ONCE)
    return await suspected(store, "second", saga_ids)


async def suspected(store: SagaStore, owner: str, saga_ids: Sequence[str]) -> list[RunRecord]:
    """Have another process find that the owner of these runs is dead, by one more that the owner had."""
    bait = await claimed(store, owner, AT_ONCE, name="Bait")

    async def ended() -> list[RunRecord]:
        await store.claim("finder", 1, AT_ONCE, {"Bait": ()}, saga_ids=[bait.saga_id])
        records = [await load(store, saga_id) for saga_id in saga_ids]
        return records if all(record.lease_owner is None for record in records) else []

    return await eventually(ended)


async def outcomes(store: SagaStore, saga_id: str) -> list[tuple[int, str, AttemptOutcome]]:
    """Return how the attempts of a run ended, and whose they were."""
    return [(attempt.attempt, attempt.owner, attempt.outcome) for attempt in await store.load_attempts(saga_id)]


async def is_due(store: SagaStore, count: int, name: str | None = None) -> bool:
    """Whether so many runs are due, of all sagas or of one."""
    stats = await store.stats()
    return (stats.due if name is None else stats.due_by_saga.get(name)) == count

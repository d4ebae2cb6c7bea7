"""Short words for the records that the cases pass around."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from uuid import uuid4

from sagaz_integration_core.contract.events import EventOutcome, EventWrite, NewEvent, OutboxRecord
from sagaz_integration_core.contract.records import (
    ClaimedRun,
    FirstSteps,
    NewRun,
    Phase,
    RunRecord,
    RunWrite,
    StepStatus,
    StepWrite,
)
from sagaz_integration_core.contract.store import SagaStore

T = TypeVar("T")

__all__ = [
    "KNOWN",
    "LEASE",
    "SHORT",
    "claim_all",
    "claimed",
    "eventually",
    "load",
    "new",
    "new_id",
    "own",
    "record_end",
    "settle",
    "step",
    "told",
    "write",
]

KNOWN: FirstSteps = {"OrderSaga": (), "OtherSaga": (), "LateSaga": (), "A": (), "B": ()}
"""The sagas that a claimer knows, of which nothing is journaled in advance."""

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

"""Runs whose owner died, for the cases that tell of what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagaz_durable.testing.store_conformance.builders import KNOWN, LEASE, claimed, eventually, load, write
from sagaz_integration_core.contract.records import AttemptOutcome, ClaimedRun, FirstSteps, RunRecord
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["AT_ONCE", "alone_ones", "is_due", "outcomes", "suspected", "suspects", "taken", "taken_one"]

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

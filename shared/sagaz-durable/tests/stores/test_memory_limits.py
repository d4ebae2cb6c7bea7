"""What a memory store forgets, so that it does not grow for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sagaz_durable.stores.memory.store import MemoryStore
from sagaz_durable.testing.store_conformance.builders import (
    KNOWN,
    LEASE,
    claimed,
    new,
    own,
    record_end,
    settle,
    step,
    told,
    write,
)
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.listings import RunFilter

pytestmark = pytest.mark.anyio


@pytest.fixture
async def small():
    store = MemoryStore(keep_finished=3)
    await store.open()
    yield store
    await store.close()


async def listed(store):
    return {record.saga_id for record in await store.find(RunFilter())}


async def test_the_runs_that_ended_first_are_forgotten_with_their_journals(small):
    waiting, running = new(), await claimed(small)
    await small.insert([waiting], LEASE)
    ended = []
    for status in ("completed", "rolled_back", "failed", "completed", "completed"):
        run = await claimed(small)
        await small.write([write(run, steps=(step("a", "done"),), status=status)])
        ended.append(run.saga_id)
    assert await listed(small) == {waiting.saga_id, running.saga_id, *ended[2:]}
    assert [len(await small.load_steps(saga_id)) for saga_id in ended] == [0, 0, 1, 1, 1]


async def test_events_of_a_forgotten_run_are_still_sent(small):
    run = await claimed(small)
    await small.write([write(run, events=told(run.saga_id, "e1", "e2"), status="completed")])
    (event,) = await small.due_events(10, LEASE)
    await settle(small, [event])
    for _ in range(3):
        await record_end(small)
    assert run.saga_id not in await listed(small)
    (event,) = await small.due_events(10, LEASE)
    assert "e2" in event.payload
    await settle(small, [event])
    assert await small.prune_events(datetime.now(UTC) + timedelta(hours=1), 10) == 1
    outbox = small._rows.outbox
    assert outbox._events == outbox._by_saga == outbox._by_event_id == {}


async def test_the_events_that_were_sent_first_are_forgotten(small):
    await small.insert_events([own(f"e{n}", key=f"k{n}") for n in range(6)])
    events = await small.due_events(5, LEASE)
    await settle(small, events)
    assert [event.event_id for event in await small.find_events(EventFilter())] == ["e2", "e3", "e4", "e5"]


async def test_finished_foreign_rows_count_too(small):
    for n in range(5):
        await small.save_foreign(f"foreign-{n}", "Theirs", "executing", "{}", {})
        await small.save_foreign(f"foreign-{n}", "Theirs", "completed", "{}", {})
    assert await listed(small) == {"foreign-2", "foreign-3", "foreign-4"}


async def test_renewing_for_ever_does_not_grow_the_queue_beyond_a_leases_time(small):
    run = await claimed(small, lease=0.01)
    for _ in range(200):
        await small.renew("w1", [(run.saga_id, run.attempt)], 0.01)
        await small.claim("w2", 10, LEASE, KNOWN, saga_ids=[])
    await small.renew("w1", [(run.saga_id, run.attempt)], LEASE)
    assert await small.claim("w2", 10, LEASE, KNOWN) == []


async def test_records_never_change_after_they_were_handed_out(small):
    run = await claimed(small)
    record, steps = await small.load(run.saga_id), await small.load_steps(run.saga_id)
    await small.write([write(run, steps=(step("a", "done"),), status="failed", error="later")])
    assert (record.status, record.error, steps) == ("executing", None, [])


async def test_a_run_that_was_set_going_again_is_not_forgotten_as_one_that_has_ended(small):
    retried = await record_end(small, "failed")
    record = await small.load(retried)
    assert await small.intervene(
        Intervention(retried, record.attempt, "failed", "pending", "retry", "ann", "the provider is back")
    )
    for _ in range(4):
        await record_end(small)
    assert (await small.load(retried)).status == "pending"


async def test_of_runs_that_are_due_at_the_same_time_the_first_one_that_came_is_the_first(small):
    at = datetime.now(UTC) - timedelta(hours=1)
    runs = [new(not_before=at) for _ in range(20)]
    await small.insert(runs, LEASE)
    assert [run.saga_id for run in await small.claim("w1", 20, LEASE, KNOWN)] == [run.saga_id for run in runs]

"""Events: committed with what they tell of, once for each id, in order within a saga."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from store_builders import LEASE, SHORT, claimed, eventually, told, write

pytestmark = pytest.mark.anyio


async def telling(store, *event_ids):
    run = await claimed(store)
    await store.write([write(run, events=told(run.saga_id, *event_ids))])
    return run


def names(events):
    return [event.event_id.rpartition(":")[2] for event in events]


async def test_an_event_comes_back_as_it_was_given(store):
    run = await telling(store, "paid")
    (event,) = await store.due_events(10, LEASE)
    assert (event.saga_id, event.event_id, event.topic) == (run.saga_id, f"{run.saga_id}:paid", "orders")
    assert json.loads(event.payload) == {"event": "paid"}
    assert json.loads(event.headers) == {"k": "v"}
    assert (event.status, event.attempts, event.error) == ("pending", 1, None)
    assert event.created_at.tzinfo is not None


async def test_an_id_is_taken_once_however_often_it_is_written(store):
    run = await telling(store, "e1")
    again = told(run.saga_id, "e1", "e2", "e2")
    assert await store.write([write(run, events=again), write(run, events=again)]) == [True, True]
    seen = []
    while events := await store.due_events(10, LEASE):
        seen += names(events)
        await store.settle_events([event.id for event in events], [])
    assert seen == ["e1", "e2"]
    await store.write([write(run, events=again)])
    assert await store.due_events(10, LEASE) == []


async def test_the_events_of_a_saga_leave_one_after_the_other(store):
    run, other = await telling(store, "a1", "a2", "a3"), await telling(store, "b1")
    first = await store.due_events(10, LEASE)
    assert names(first) == ["a1", "b1"]
    assert await store.due_events(10, LEASE) == []
    await store.settle_events([event.id for event in first if event.saga_id == other.saga_id], [])
    assert await store.due_events(10, LEASE) == []
    await store.settle_events([event.id for event in first if event.saga_id == run.saga_id], [])
    assert names(await store.due_events(10, LEASE)) == ["a2"]


async def test_the_oldest_come_first_up_to_the_limit(store):
    for n in range(5):
        await telling(store, f"e{n}")
    assert names(await store.due_events(2, LEASE)) == ["e0", "e1"]
    assert names(await store.due_events(9, LEASE)) == ["e2", "e3", "e4"]


async def test_an_event_that_is_not_settled_comes_again(store):
    await telling(store, "e1", "e2")
    await store.due_events(10, SHORT)
    (event,) = await eventually(lambda: store.due_events(10, LEASE))
    assert (names([event]), event.attempts) == (["e1"], 2)


async def test_a_failed_event_is_tried_again_after_its_delay_and_holds_the_later_ones_back(store):
    await telling(store, "e1", "e2")
    (event,) = await store.due_events(10, LEASE)
    await store.settle_events([], [(event.id, "broker down", 0.2, False)])
    assert await store.due_events(10, LEASE) == []
    (again,) = await eventually(lambda: store.due_events(10, LEASE))
    assert (again.id, again.attempts, again.error) == (event.id, 2, "broker down")


async def test_a_dead_event_is_set_aside_and_the_next_one_leaves(store):
    await telling(store, "e1", "e2")
    (event,) = await store.due_events(10, LEASE)
    await store.settle_events([], [(event.id, "unroutable", 0.0, True)])
    assert names(await store.due_events(10, LEASE)) == ["e2"]


async def test_what_was_sent_stays_sent_though_another_says_it_failed(store):
    await telling(store, "e1")
    (event,) = await store.due_events(10, LEASE)
    await store.settle_events([event.id], [])
    await store.settle_events([event.id, 123456], [(event.id, "late", 0.0, False), (123456, "none", 0.0, True)])
    assert await store.due_events(10, LEASE) == []


async def test_concurrent_relays_get_each_event_once_and_in_order(store):
    runs = [await telling(store, *(f"{n:02}" for n in range(6))) for _ in range(10)]
    seen = []

    async def relay():
        while len(seen) < 60:
            events = await store.due_events(4, LEASE)
            seen.extend(event.event_id for event in events)
            await store.settle_events([event.id for event in events], [])
            await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(*(relay() for _ in range(4))), 30)
    assert max(Counter(seen).values()) == 1
    for run in runs:
        assert [e for e in seen if e.startswith(run.saga_id)] == [f"{run.saga_id}:{n:02}" for n in range(6)]

"""Events: committed with what they tell of, once for each id, in order within a saga."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sagaz_durable.testing.store_conformance.builders import LEASE, SHORT, claimed, eventually, own, settle, told, write
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, OutboxRecord
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.contract.store import SagaStore


async def telling(store: SagaStore, *event_ids: str) -> ClaimedRun:
    """Claim a run and have it write these events."""
    run = await claimed(store)
    await store.write([write(run, events=told(run.saga_id, *event_ids))])
    return run


async def set_aside(store: SagaStore, *event_ids: str) -> None:
    """Insert events of the application, each with a key of its own, and set them aside."""
    await store.insert_events([own(event_id, key=event_id) for event_id in event_ids])
    events = [event for event in await store.due_events(100, LEASE) if event.event_id in event_ids]
    await settle(store, events, "dead", error="refused", charged=True)


def names(events: Iterable[OutboxRecord]) -> list[str]:
    """Return which events these are."""
    return [json.loads(event.payload)["event"] for event in events]


class Events:
    """Events are leased, settled, set aside and pruned; those of one saga leave in order."""

    async def test_an_event_comes_back_as_it_was_given(self, store: SagaStore) -> None:
        run = await telling(store, "paid")
        (event,) = await store.due_events(10, LEASE)
        assert (event.saga_id, event.topic) == (run.saga_id, "orders")
        assert json.loads(event.payload) == {"event": "paid"}
        assert json.loads(event.headers) == {"k": "v"}
        assert (event.status, event.attempts, event.error, event.sent_at) == ("pending", 0, None, None)
        assert event.created_at.tzinfo is not None
        assert event.available_at is not None
        assert timedelta(seconds=LEASE - 5) < event.available_at - event.created_at < timedelta(seconds=LEASE + 5)

    async def test_the_events_of_a_run_have_other_ids_than_those_of_a_pruned_one_with_its_key(
        self, store: SagaStore
    ) -> None:
        async def run_and_tell() -> list[OutboxRecord]:
            run = await claimed(store, saga_id="by-key")
            await store.write([write(run, events=told("by-key", "paid"))])
            assert await store.write([write(run, status="completed", events=told("by-key", "paid", "completed"))]) == [
                True
            ]
            return await store.find_events(EventFilter(saga_id="by-key"))

        first = await run_and_tell()
        assert names(first) == ["paid", "completed"]
        assert await store.prune(datetime.now(UTC) + timedelta(hours=1), ["completed"], 10) == 1
        # Those that were not sent stay, and the next run's come after them.
        both = await run_and_tell()
        assert names(both) == ["paid", "completed"] * 2
        assert len({event.event_id for event in both}) == 4
        assert {len(str(UUID(event.event_id))) for event in both} == {36}

    async def test_an_id_is_taken_once_however_often_it_is_written(self, store: SagaStore) -> None:
        run = await telling(store, "e1")
        again = told(run.saga_id, "e1", "e2", "e2")
        assert await store.write([write(run, events=again), write(run, events=again)]) == [True, True]
        seen: list[str] = []
        while events := await store.due_events(10, LEASE):
            seen += names(events)
            await settle(store, events)
        assert seen == ["e1", "e2"]
        await store.write([write(run, events=again)])
        assert await store.due_events(10, LEASE) == []

    async def test_the_applications_own_events_leave_in_order_of_their_key(self, store: SagaStore) -> None:
        assert await store.insert_events([own("a"), own("b"), own("x", key="orders-2")]) == [True, True, True]
        first = await store.due_events(10, LEASE)
        assert names(first) == ["a", "x"]
        assert (first[0].saga_id, first[0].topic, json.loads(first[0].payload)) == (
            "orders-1",
            "orders",
            {"event": "a"},
        )
        await settle(store, first)
        assert names(await store.due_events(10, LEASE)) == ["b"]

    async def test_the_applications_event_of_one_id_is_there_once_even_when_it_was_sent(self, store: SagaStore) -> None:
        assert await store.insert_events([own("a"), own("a")]) == [True, False]
        await settle(store, await store.due_events(10, LEASE))
        assert await store.insert_events([own("a"), own("b")]) == [False, True]
        assert names(await store.due_events(10, LEASE)) == ["b"]

    async def test_the_events_of_a_saga_leave_one_after_the_other(self, store: SagaStore) -> None:
        run, other = await telling(store, "a1", "a2", "a3"), await telling(store, "b1")
        first = await store.due_events(10, LEASE)
        assert names(first) == ["a1", "b1"]
        assert await store.due_events(10, LEASE) == []
        await settle(store, [event for event in first if event.saga_id == other.saga_id])
        assert await store.due_events(10, LEASE) == []
        await settle(store, [event for event in first if event.saga_id == run.saga_id])
        assert names(await store.due_events(10, LEASE)) == ["a2"]

    async def test_the_oldest_come_first_up_to_the_limit(self, store: SagaStore) -> None:
        for n in range(5):
            await telling(store, f"e{n}")
        assert names(await store.due_events(2, LEASE)) == ["e0", "e1"]
        assert names(await store.due_events(9, LEASE)) == ["e2", "e3", "e4"]

    async def test_an_event_that_is_not_settled_comes_again_and_is_charged_nothing(self, store: SagaStore) -> None:
        await telling(store, "e1", "e2")
        await store.due_events(10, SHORT)
        (event,) = await eventually(lambda: store.due_events(10, LEASE))
        assert (names([event]), event.attempts) == (["e1"], 0)

    async def test_a_charged_event_is_tried_again_after_its_delay_and_holds_the_later_ones_back(
        self, store: SagaStore
    ) -> None:
        await telling(store, "e1", "e2")
        (event,) = await store.due_events(10, LEASE)
        await settle(store, [event], "pending", error="refused", delay=0.2, charged=True)
        assert await store.due_events(10, LEASE) == []
        (again,) = await eventually(lambda: store.due_events(10, LEASE))
        assert (again.id, again.attempts, again.error) == (event.id, 1, "refused")

    async def test_an_event_that_is_given_back_is_due_at_once_and_keeps_its_attempts_and_its_error(
        self, store: SagaStore
    ) -> None:
        await telling(store, "e1")
        (event,) = await store.due_events(10, LEASE)
        await settle(store, [event], "pending", error="refused", charged=True)
        (event,) = await store.due_events(10, LEASE)
        await settle(store, [event], "pending")
        (event,) = await store.due_events(10, LEASE)
        assert (event.attempts, event.error) == (1, "refused")

    async def test_those_that_were_given_back_come_after_those_that_have_waited_longer(self, store: SagaStore) -> None:
        for name in ("e1", "e2"):
            await telling(store, name)
        (first,) = await store.due_events(1, LEASE)
        await settle(store, [first], "pending")
        assert names(await store.due_events(2, LEASE)) == ["e2", "e1"]

    async def test_a_dead_event_is_set_aside_and_the_next_one_leaves(self, store: SagaStore) -> None:
        await telling(store, "e1", "e2")
        (event,) = await store.due_events(10, LEASE)
        await settle(store, [event], "dead", error="unroutable", charged=True)
        assert names(await store.due_events(10, LEASE)) == ["e2"]
        (dead,) = await store.find_events(EventFilter(statuses=("dead",)))
        assert (names([dead]), dead.error, dead.attempts, dead.available_at) == (["e1"], "unroutable", 1, None)

    async def test_what_was_sent_stays_sent_though_another_says_it_failed(self, store: SagaStore) -> None:
        await telling(store, "e1")
        (event,) = await store.due_events(10, LEASE)
        await settle(store, [event])
        await settle(store, [event], "pending", error="late", charged=True)
        await settle(store, [event], "dead", error="late", charged=True)
        await store.settle_events([EventOutcome(123456, "sent"), EventOutcome(123456, "dead")])
        assert await store.due_events(10, LEASE) == []
        (sent,) = await store.find_events(EventFilter())
        assert (sent.status, sent.attempts, sent.error, sent.available_at) == ("sent", 0, None, None)
        assert sent.sent_at is not None
        assert sent.sent_at >= sent.created_at

    async def test_a_dead_event_that_was_sent_after_all_is_sent(self, store: SagaStore) -> None:
        await set_aside(store, "a")
        (dead,) = await store.find_events(EventFilter())
        await settle(store, [dead], "pending")
        assert await store.due_events(10, LEASE) == []
        await settle(store, [dead])
        assert [event.status for event in await store.find_events(EventFilter())] == ["sent"]

    async def test_events_are_found_oldest_first_by_status_topic_saga_and_id_page_by_page(
        self, store: SagaStore
    ) -> None:
        await set_aside(store, "a", "b")
        await store.insert_events([own("c", topic="payments"), own("d", key="k")])
        found = await store.find_events(EventFilter(limit=3))
        assert names(found) == ["a", "b", "c"]
        assert names(await store.find_events(EventFilter(after=found[-1].id))) == ["d"]
        assert names(await store.find_events(EventFilter(statuses=("dead",)))) == ["a", "b"]
        assert names(await store.find_events(EventFilter(statuses=("dead", "pending")))) == ["a", "b", "c", "d"]
        assert names(await store.find_events(EventFilter(topic="payments"))) == ["c"]
        assert names(await store.find_events(EventFilter(saga_id="k"))) == ["d"]
        assert names(await store.find_events(EventFilter(event_ids=("b", "d", "none")))) == ["b", "d"]
        assert names(await store.find_events(EventFilter(event_ids=("b", "d"), statuses=("pending",)))) == ["d"]
        assert await store.find_events(EventFilter(event_ids=())) == []

    async def test_events_are_counted_whatever_the_page(self, store: SagaStore) -> None:
        await set_aside(store, "a", "b")
        await store.insert_events([own("c")])
        assert await store.count_events(EventFilter()) == 3
        assert await store.count_events(EventFilter(statuses=("dead",), limit=1, after=10_000)) == 2
        assert await store.count_events(EventFilter(statuses=("sent",))) == 0

    async def test_a_retried_event_is_due_at_once_with_all_its_attempts_before_it(self, store: SagaStore) -> None:
        await set_aside(store, "a", "b")
        await store.insert_events([own("c")])
        assert await store.retry_events(["a", "c", "none"]) == ["a"]
        assert await store.retry_events(["a"]) == []
        due = {event.event_id: event for event in await store.due_events(10, LEASE)}
        assert due.keys() == {"a", "c"}
        assert (due["a"].attempts, due["a"].status) == (0, "pending")

    async def test_two_people_who_retry_an_event_at_once_retry_it_once(self, store: SagaStore) -> None:
        await set_aside(store, *(f"e{n}" for n in range(5)))
        ids = [f"e{n}" for n in range(5)]
        answers = await asyncio.gather(*(store.retry_events(ids) for _ in range(4)))
        assert sorted(event_id for answer in answers for event_id in answer) == ids

    async def test_pruning_deletes_what_was_sent_before_a_time_and_nothing_else(self, store: SagaStore) -> None:
        await set_aside(store, "dead")
        await store.insert_events([own(f"e{n}", key=f"k{n}") for n in range(4)])
        events = await store.due_events(10, LEASE)
        await settle(store, events[:3])
        now = datetime.now(UTC)
        assert await store.prune_events(now - timedelta(hours=1), 10) == 0
        assert await store.prune_events(now + timedelta(hours=1), 2) == 2
        assert await store.prune_events(now + timedelta(hours=1), 2) == 1
        assert names(await store.find_events(EventFilter())) == ["dead", "e3"]

    async def test_concurrent_relays_get_each_event_once_and_in_order(self, store: SagaStore) -> None:
        runs = [await telling(store, *(f"{n:02}" for n in range(6))) for _ in range(10)]
        seen: list[tuple[str, str]] = []

        async def relay() -> None:
            while len(seen) < 60:
                events = await store.due_events(4, LEASE)
                seen.extend((event.saga_id, name) for event, name in zip(events, names(events), strict=True))
                await settle(store, events)
                await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(*(relay() for _ in range(4))), 30)
        assert max(Counter(seen).values()) == 1
        for run in runs:
            assert [name for saga_id, name in seen if saga_id == run.saga_id] == [f"{n:02}" for n in range(6)]

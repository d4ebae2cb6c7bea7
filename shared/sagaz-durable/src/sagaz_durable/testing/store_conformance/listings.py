"""What people and health checks see of a store."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from sagaz_durable.testing.store_conformance.builders import (
    LEASE,
    SHORT,
    claimed,
    eventually,
    load,
    new,
    new_id,
    record_end,
)
from sagaz_integration_core.contract.listings import RunFilter, StoreStats
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.contract.store import SagaStore


async def _stats_with_due(store: SagaStore) -> StoreStats | None:
    stats = await store.stats()
    return stats if stats.due else None


class Listings:
    """Runs are found newest first, page by page; figures and workers are what they are now."""

    async def test_what_is_not_there_is_none(self, store: SagaStore) -> None:
        assert await store.load(new_id()) is None
        assert await store.load_steps(new_id()) == []
        assert await store.find(RunFilter()) == []

    async def test_a_stores_id_is_random_and_stays(self, store: SagaStore) -> None:
        first = await store.store_id()
        assert len(first) >= 32
        assert await store.store_id() == first

    async def test_runs_are_listed_newest_first(self, store: SagaStore) -> None:
        runs = [new() for _ in range(5)]
        for run in runs:
            await store.insert([run], LEASE)
        found = await store.find(RunFilter())
        assert [record.saga_id for record in found] == [run.saga_id for run in reversed(runs)]
        assert found[0] == await load(store, runs[-1].saga_id)

    async def test_runs_are_found_by_status_name_and_correlation_id(self, store: SagaStore) -> None:
        done = await record_end(store, name="A", correlation_id="c1")
        failed = await record_end(store, "failed", name="A", correlation_id="c2")
        waiting = new(name="B", correlation_id="c1")
        await store.insert([waiting], LEASE)

        async def ids(**values: Any) -> list[str]:
            return [record.saga_id for record in await store.find(RunFilter(**values))]

        assert await ids(statuses=("failed",)) == [failed]
        assert await ids(statuses=("failed", "completed")) == [failed, done]
        assert await ids(saga_name="A") == [failed, done]
        assert await ids(correlation_id="c1") == [waiting.saga_id, done]
        assert await ids(saga_name="A", correlation_id="c1", statuses=("completed",)) == [done]
        assert await ids(saga_name="nobody") == []

    async def test_the_runs_of_one_owner_are_listed_newest_first_page_by_page(self, store: SagaStore) -> None:
        mine = [new(owner="user:42", name=name) for name in ("A", "B", "A")]
        for run in mine:
            await store.insert([run, new(owner="user:421"), new(owner="USER:42"), new()], LEASE)
        done = new(owner="user:42", name="B", lease_owner="w1")
        await store.insert([done], LEASE)
        await store.write([RunWrite(done.saga_id, "w1", 1, status="completed")])
        expected = [run.saga_id for run in (done, *reversed(mine))]
        pages, before = list[str](), None
        while page := await store.find(RunFilter(owner="user:42", limit=3, before=before)):
            assert {record.owner for record in page} == {"user:42"}
            pages += [record.saga_id for record in page]
            before = (page[-1].created_at, page[-1].saga_id)
        assert pages == expected
        finished = await store.find(RunFilter(owner="user:42", statuses=("completed", "failed")))
        assert [record.saga_id for record in finished] == [done.saga_id]
        of_a = await store.find(RunFilter(owner="user:42", statuses=("pending",), saga_name="A"))
        assert [record.saga_id for record in of_a] == [mine[2].saga_id, mine[0].saga_id]
        assert await store.find(RunFilter(owner="user")) == []

    @pytest.mark.parametrize("together", [True, False])
    async def test_pages_follow_one_another_without_gap_or_repetition(self, store: SagaStore, together: bool) -> None:
        runs = [new() for _ in range(23)]
        for batch in [runs] if together else [[run] for run in runs]:
            await store.insert(batch, LEASE)
        pages, before = [], None
        while page := await store.find(RunFilter(limit=5, before=before)):
            pages.append([record.saga_id for record in page])
            before = (page[-1].created_at, page[-1].saga_id)
            await store.insert([new()], LEASE)
        assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
        listed = list(chain.from_iterable(pages))
        assert set(listed) == {run.saga_id for run in runs}
        assert together or listed == [run.saga_id for run in reversed(runs)]

    async def test_figures(self, store: SagaStore) -> None:
        empty = await store.stats()
        assert (sum(empty.counts.values()), empty.due, empty.oldest_due_age, empty.live_workers) == (0, 0, None, 0)
        await record_end(store)
        await record_end(store, "failed")
        await claimed(store)
        await store.insert([new(), new()], LEASE)
        stats = await store.stats()
        counts = {status: count for status, count in stats.counts.items() if count}
        assert counts == {"completed": 1, "failed": 1, "executing": 1, "pending": 2}
        assert stats.due == 2
        assert stats.oldest_due_age is not None
        assert 0 <= stats.oldest_due_age < 60

    async def test_a_run_whose_lease_has_ended_is_due(self, store: SagaStore) -> None:
        await claimed(store, "w1", SHORT)
        stats = await eventually(lambda: _stats_with_due(store))
        assert stats.counts["executing"] == 1

    async def test_workers_live_as_long_as_they_say(self, store: SagaStore) -> None:
        async def alive() -> int:
            return (await store.stats()).live_workers

        await store.heartbeat("w1", LEASE)
        await store.heartbeat("w1", LEASE)
        await store.heartbeat("w2", SHORT)
        assert await alive() == 2

        async def one_left() -> bool:
            return await alive() == 1

        await eventually(one_left)
        await store.heartbeat("w1", 0)
        await store.heartbeat("never seen", 0)
        assert await alive() == 0

"""Items that share a commit: none pays for another, and none is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from sagaz_durable.concurrency.batcher import MAX_BYTES, Batcher, bytes_of
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import RunWrite, StepWrite
from sagaz_integration_core.errors import StoreUnavailable, WriteRefused

pytestmark = pytest.mark.anyio


class Store:
    """Commits lists of numbers, doubled; refuses those that are negative, and is away when it is told so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.away = False

    async def commit(self, items):
        self.batches.append(items)
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("away")
        if any(item < 0 for item in items):
            raise WriteRefused(f"no: {[item for item in items if item < 0]}")
        return [2 * item for item in items]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store() -> Store:
    return Store()


async def all_of(batcher, items):
    """Submit items, and return the answers and errors; nobody is to wait for ever."""
    async with asyncio.timeout(10):
        return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)


async def test_what_is_refused_in_a_batch_harms_nothing_beside_it(store):
    batcher = Batcher(store.commit)
    answers = await all_of(batcher, [1, 2, -3, 4, -5, 6, 7])
    assert [answer for answer in answers if isinstance(answer, int)] == [2, 4, 8, 12, 14]
    assert [str(answer) for answer in answers if isinstance(answer, Exception)] == ["no: [-3]", "no: [-5]"]


async def test_an_outage_is_told_to_all_of_a_batch_which_is_not_tried_again(store):
    store.away = True
    batcher = Batcher(store.commit)
    answers = await all_of(batcher, range(5))
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5
    assert len(store.batches) == 1
    store.away = False
    assert await batcher.submit(1) == 2


async def test_what_is_beyond_a_batch_is_in_the_next_one(store):
    batcher = Batcher(store.commit, limit=500)
    assert await all_of(batcher, range(1201)) == [2 * n for n in range(1201)]
    assert [len(batch) for batch in store.batches] == [500, 500, 201]
    assert [item for batch in store.batches for item in batch] == list(range(1201))


async def test_a_batch_has_a_mebibyte_and_what_is_larger_goes_alone(store):
    sizes = [MAX_BYTES // 2, MAX_BYTES // 2, 1, 3 * MAX_BYTES, 1, MAX_BYTES - 1, 1]
    batcher = Batcher(store.commit, size=lambda item: item)
    assert await all_of(batcher, sizes) == [2 * size for size in sizes]
    assert store.batches == [sizes[:2], [1], [3 * MAX_BYTES], [1, MAX_BYTES - 1], [1]]


async def test_whoever_was_cancelled_while_it_waited_keeps_no_answer_from_others(store):
    for first in (1, -1):
        batcher = Batcher(store.commit)
        gone, waiting = batcher.submit(first), batcher.submit(3)
        await asyncio.sleep(0)
        gone.cancel()
        assert await waiting == 6
        assert await batcher.submit(4) == 8


async def test_a_batcher_that_is_cancelled_leaves_nobody_waiting(store):
    async def never(items):
        await asyncio.Event().wait()

    batcher = Batcher(never)
    waiting = [batcher.submit(n) for n in range(3)]
    await asyncio.sleep(0)
    flusher = batcher._flusher
    flusher.cancel()
    await asyncio.wait([*waiting, flusher])
    assert all(future.cancelled() for future in [*waiting, flusher])


async def test_idle_is_when_all_is_committed(store):
    batcher = Batcher(store.commit, limit=1)
    futures = [batcher.submit(n) for n in range(3)]
    await batcher.idle()
    assert all(future.done() for future in futures)


def test_a_write_has_the_bytes_of_its_results_errors_and_events():
    steps = (StepWrite("a", "do", "done", '"é"'), StepWrite("b", "do", "failed", None, "no"))
    events = (EventWrite("e", "topic", "{}", '{"k": 1}'),)
    assert bytes_of(RunWrite("x", "w1", 1, steps, events, error="why")) == 4 + 2 + 2 + 8 + 3
    assert bytes_of(RunWrite("x", "w1", 1)) == 0


def test_a_text_that_no_encoding_has_is_counted_all_the_same():
    assert bytes_of(RunWrite("x", "w1", 1, error="\ud800é")) == 3

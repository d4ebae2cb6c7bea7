"""When something happened, as each store tells it: writes, steps without a start, and rows of sagaz's own engine."""

from __future__ import annotations

import pytest

from sagaz_durable.testing.store_conformance.builders import claimed, load, new_id, step, write

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("values", [{"steps": (step("a", "started"),)}, {"status": "compensating"}, {"error": "why"}])
async def test_a_write_tells_when_it_was(store, values):
    run = await claimed(store)
    before = await load(store, run.saga_id)
    assert await store.write([write(run, **values)]) == [True]
    assert (await load(store, run.saga_id)).updated_at > before.updated_at


async def test_a_step_of_which_only_the_end_is_known_has_its_place_by_that(store):
    run = await claimed(store)
    await store.write([write(run, steps=(step("first", "started"),))])
    await store.write([write(run, steps=(step("end only", "done"),))])
    await store.write([write(run, steps=(step("last", "started"),))])
    assert [one.step for one in await store.load_steps(run.saga_id)] == ["first", "end only", "last"]


async def test_a_step_that_was_started_again_has_its_place_by_that(store):
    run = await claimed(store)
    for name in ("again", "once"):
        await store.write([write(run, steps=(step(name, "started"),))])
    await store.write([write(run, steps=(step("again", "started"),))])
    assert [one.step for one in await store.load_steps(run.saga_id)] == ["once", "again"]


async def test_a_foreign_row_has_what_was_saved_last_and_the_time_of_that(store):
    saga_id = new_id()
    await store.save_foreign(saga_id, "Theirs", "executing", "{}", {"correlation_id": "c-1"})
    first = await load(store, saga_id)
    assert (first.saga_name, first.correlation_id, first.finished_at) == ("Theirs", "c-1", None)
    await store.save_foreign(saga_id, "Renamed", "completed", '{"n": 1}', {})
    ended = await load(store, saga_id)
    assert (ended.saga_name, ended.status, ended.correlation_id) == ("Renamed", "completed", "c-1")
    assert ended.created_at == first.created_at
    assert ended.finished_at == ended.updated_at > first.updated_at
    await store.save_foreign(saga_id, "Renamed", "executing", "{}", {"correlation_id": "c-2"})
    again = await load(store, saga_id)
    assert (again.status, again.correlation_id, again.finished_at) == ("executing", "c-2", None)
    assert again.updated_at > ended.updated_at

"""Runs page by page, as an application's own pages and routes list them."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode

import pytest

from sagaz_durable import Saga, action
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.errors import InvalidInput

FORMS = pytest.mark.parametrize("form", ["", "_sync"], ids=["async", "sync"])


class OrderSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        if ctx.get("out"):
            raise ValueError("out of stock")


class OtherSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        return None


@pytest.fixture
async def runtime(settings, opened):
    async with opened(settings, sagas=[OrderSaga, OtherSaga]) as runtime:
        yield runtime


async def page(runtime, form="", **options):
    sagas = Sagas(runtime)
    if not form:
        return await sagas.list_runs(**options)
    return await asyncio.to_thread(sagas.list_runs_sync, **options)


async def ids(runtime, **options):
    return [run.saga_id for run in (await page(runtime, **options)).runs]


@FORMS
async def test_pages_have_no_gap_and_no_run_twice_while_others_begin(runtime, form):
    sagas = Sagas(runtime)
    alone = [(await sagas.run(OrderSaga, owner="user:42")).saga_id for _ in range(4)]
    # Begun in one statement, they are equally old.
    together = await sagas.start_many(OtherSaga, [{}] * 6, owner="user:42")
    seen, cursor = [], None
    while True:
        found = await page(runtime, form, owner="user:42", limit=4, cursor=cursor)
        assert {run.owner for run in found.runs} == {"user:42"}
        seen.append([run.saga_id for run in found.runs])
        if (cursor := found.cursor) is None:
            break
        await sagas.run(OrderSaga, owner="user:42")
        await sagas.run(OrderSaga, owner="user:7")
    assert [len(one) for one in seen] == [4, 4, 2]
    listed = [saga_id for one in seen for saga_id in one]
    assert (set(listed[:6]), listed[6:]) == (set(together), alone[::-1])


async def test_a_page_that_is_just_full_is_the_last(runtime):
    await Sagas(runtime).start_many(OtherSaga, [{}] * 3)
    assert (await page(runtime, limit=3)).cursor is None
    assert (await page(runtime, limit=2)).cursor is not None


async def test_runs_are_listed_by_status_saga_owner_and_correlation_id(runtime):
    sagas = Sagas(runtime)
    first = (await sagas.run(OrderSaga, owner="user:42")).saga_id
    with pytest.raises(ValueError, match="out of stock"):
        await sagas.run(OrderSaga, {"out": True}, "second", owner="user:42")
    third = (await sagas.run(OtherSaga, owner="user:7")).saga_id
    assert await ids(runtime) == [third, "second", first]
    assert await ids(runtime, statuses=["rolled_back"]) == ["second"]
    assert await ids(runtime, statuses=("completed", "failed"), owner="user:42") == [first]
    assert await ids(runtime, saga_name="OrderSaga") == ["second", first]
    assert await ids(runtime, saga_name="OtherSaga", owner="user:42") == []
    assert await ids(runtime, correlation_id="nobody's") == []


@pytest.mark.parametrize("name", ["\0", "\ud800"], ids=repr)
async def test_what_no_store_can_hold_matches_nothing(runtime, name):
    await Sagas(runtime).run(OrderSaga)
    for what in ("saga_name", "owner", "correlation_id"):
        assert (await page(runtime, **{what: name})).runs == ()


def made_of(text):
    return urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "ü", "%%%", 7, made_of("yesterday a"), made_of("2026-01-01T00:00:00 a"),
        made_of("2026-01-01T00:00:00+02:00 a"), made_of("0001-01-01T00:00:00+00:00 a"),
        made_of("9999-12-31T23:59:59+00:00 a"), made_of("2026-01-01T00:00:00+00:00 \0"), "A" * 3_000,
    ],
    ids=repr,
)  # fmt: skip
async def test_a_cursor_that_is_none_is_refused_without_being_repeated(runtime, cursor):
    with pytest.raises(InvalidInput, match=r"^The cursor is not one that a page of runs came with"):
        await page(runtime, cursor=cursor)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 0}, "limit must be a whole number, 1 to 500"),
        ({"limit": 501}, "limit must be a whole number, 1 to 500"),
        ({"limit": "10"}, "limit must be a whole number, 1 to 500"),
        ({"limit": True}, "limit must be a whole number, 1 to 500"),
        ({"statuses": ["done"]}, "1 of the statuses is none: expected are pending,"),
        ({"statuses": "failed"}, "of the statuses is none"),
    ],
    ids=repr,
)
async def test_a_limit_or_status_that_is_none_is_refused(runtime, options, told):
    with pytest.raises(InvalidInput, match=told) as caught:
        await page(runtime, **options)
    assert "done" not in str(caught.value)

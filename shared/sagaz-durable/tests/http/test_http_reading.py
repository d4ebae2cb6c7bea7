"""What readers are told of runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from http_shop import Order, ask, read

from sagaz_durable import action
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.problems import Problem
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.problem_types import CATALOGUE, INVALID_INPUT
from sagaz_durable.runtime.runtime import SagazRuntime


async def test_a_run_is_shown_with_its_steps_and_when_they_were(shop):
    saga_id = await shop.started()
    answer = await shop.api.show_run(ask(), saga_id)
    told = read(answer)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (told["saga_id"], told["saga"], told["status"], told["error"]) == (saga_id, "order", "completed", None)
    reserve, charge = told["steps"]
    assert (reserve["name"], reserve["state"], reserve["compensation"]["state"]) == ("reserve", "done", "uncalled")
    assert (charge["name"], charge["state"], charge["compensation"]) == ("charge", "done", None)
    moments = [reserve["started_at"], reserve["finished_at"], told["finished_at"]]
    assert moments == sorted(moments)
    assert all(moment.endswith("Z") for moment in moments)


async def test_what_a_run_waits_for_is_told_without_its_key(shop):
    saga_id = await shop.started("waiting", waits=True)
    [wait] = read(await shop.api.show_run(ask(), saga_id))["waits_for"]
    assert (wait["step"], wait["signal"], wait["compensates"], wait["until"]) == ("charge", "paid", False, None)
    assert "key" not in wait


async def test_what_a_step_has_waited_for_is_not_told_as_what_it_waits_for(shop):
    saga_id = await shop.started("waiting", asks=True, waits=True)
    await shop.sagas.send_signal("asked", saga_id=saga_id)
    async with asyncio.timeout(20):
        while len(await shop.runtime.store.load_waits(saga_id)) < 2 or await shop.status(saga_id) != "waiting":
            await asyncio.sleep(0.005)
    assert [wait["signal"] for wait in read(await shop.api.show_run(ask(), saga_id))["waits_for"]] == ["paid"]


async def test_only_keys_on_the_list_are_shown_of_a_context(shop):
    saga_id = await shop.started(order_id="o-1", token="t")
    assert read(await shop.api.show_run(ask(), saga_id))["context"] == {}
    shop.rules["shows"] = ["order_id", "reservation", "nothing"]
    assert read(await shop.api.show_run(ask(), saga_id))["context"] == {"order_id": "o-1", "reservation": "R-1"}


async def test_an_exceptions_text_is_not_told_unless_the_application_says_so(shop):
    saga_id = await shop.started("rolled_back", declined=True)
    answer = await shop.api.show_run(ask(), saga_id)
    assert b"4111" not in answer.body
    error = read(answer)["error"]
    assert error["type"].endswith("#run-rolled-back")
    assert "detail" not in error
    shop.rules["tells_errors"] = True
    assert "card 4111 was declined" in read(await shop.api.show_run(ask(), saga_id))["error"]["detail"]


async def test_a_reader_who_has_it_already_is_sent_nothing(shop):
    saga_id = await shop.started("waiting", waits=True)
    first = await shop.api.show_run(ask(), saga_id)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await shop.api.show_run(ask(headers=known), saga_id)
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    await shop.sagas.send_signal("paid", {"amount": 1}, saga_id=saga_id)
    await shop.ended(saga_id)
    changed = await shop.api.show_run(ask(headers=known), saga_id)
    assert (changed.status, read(changed)["status"]) == (200, "completed")
    assert changed.headers["ETag"] != first.headers["ETag"]


class OrderOfTheNextRelease(Order):
    saga_name = "order"

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx): ...


async def test_after_a_deployment_with_other_steps_a_reader_is_sent_those(shop):
    saga_id = await shop.started()
    known = {"If-None-Match": (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}
    drawn = {"If-None-Match": (await shop.api.draw_run(ask(), saga_id)).headers["ETag"]}
    async with deployed(shop, OrderOfTheNextRelease) as next_release:
        shown = await next_release.show_run(ask(headers=known), saga_id)
        assert (shown.status, [step["name"] for step in read(shown)["steps"]]) == (200, ["reserve", "charge", "ship"])
        picture = await next_release.draw_run(ask(headers=drawn), saga_id)
        assert (picture.status, b"ship" in picture.body) == (200, True)
    async with deployed(shop, Order) as same_release:
        assert (await same_release.show_run(ask(headers=known), saga_id)).status == 304


@pytest.mark.parametrize("changed", [{"shows": ["order_id"]}, {"tells_errors": True}])
async def test_a_reader_who_may_be_shown_more_is_sent_it(shop, changed):
    saga_id = await shop.started("rolled_back", declined=True, order_id="o-1")
    known = {"If-None-Match": (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}
    shop.rules |= changed
    assert (await shop.api.show_run(ask(headers=known), saga_id)).status == 200


@asynccontextmanager
async def deployed(shop, saga_class):
    """The routes of a process of another release, over the same runs."""
    scope = SagazRuntime(shop.runtime.settings, sagas=[saga_class])
    await scope.open()
    try:
        yield SagaApi(OverStore(scope, shop.runtime.store), ApiRules(**shop.rules))
    finally:
        await scope.close()


class OverStore:
    """A process's scope, with the runs of another one that are in memory."""

    def __init__(self, scope, store):
        self.settings, self.registry, self.reach, self.store = scope.settings, scope.registry, scope.reach, store


@pytest.mark.parametrize("given", ["*", "W/{}", '"x", {}', '{} , W/"y"'])
async def test_if_none_match_is_read_as_its_standard_says(shop, given):
    saga_id = await shop.started()
    etag = (await shop.api.show_run(ask(), saga_id)).headers["ETag"]
    answer = await shop.api.show_run(ask(headers={"if-none-match": given.format(etag)}), saga_id)
    assert answer.status == 304


async def test_pages_hold_every_run_once_the_newest_first(shop):
    made = [await shop.started() for _ in range(5)]
    found, query = [], "limit=2"
    while query:
        page = read(await shop.api.list_runs(ask(query=query)))
        assert len(page["runs"]) <= 2
        found += [run["saga_id"] for run in page["runs"]]
        query = page["next"] and f"limit=2&cursor={page['next']}"
    assert found == made[::-1]


async def test_a_list_is_of_the_runs_that_the_query_names(shop):
    done, waits = await shop.started(), await shop.started("waiting", waits=True)

    async def listed(query):
        return {run["saga_id"] for run in read(await shop.api.list_runs(ask(query=query)))["runs"]}

    assert await listed("status=waiting") == {waits}
    assert await listed("status=waiting&status=completed&saga=order") == {done, waits}
    assert await listed("saga=other") == await listed("saga=%00") == set()


@pytest.mark.parametrize(
    "query",
    [
        "statsu=failed", "status=lost", "limit=0", "limit=101", "limit=x", "limit=%C2%B2", "limit=1&limit=2",
        "cursor=x", "cursor=MjAyNg", "cursor=%F0%9F%98%80", "&".join("status=failed" for _ in range(60)),
        "cursor=MjAyNi0wMS0wMVQwMDowMDowMCBh",
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_meant_is_refused(shop, query):
    answer = await shop.api.list_runs(ask(query=query))
    assert (answer.status, read(answer)["type"].rpartition("#")[2]) == (422, "invalid-input")


async def test_problems_have_the_requests_correlation_id(shop):
    answer = await shop.api.show_run(ask(headers={"x-correlation-id": "c-1"}), "nothing")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert read(answer)["correlation_id"] == "c-1"
    hostile = await shop.api.show_run(ask(headers={"x-correlation-id": "\x1b[2J"}), "nothing")
    assert "\x1b" not in read(hostile)["correlation_id"]


def test_what_a_problem_tells_moves_no_terminal_and_is_not_long():
    told = Problem(INVALID_INPUT, "\x1b[2J" + "x" * 5_000).document("c-1")
    assert told["detail"].startswith("\\x1b[2Jx")
    assert len(told["detail"]) == 2_000


def test_the_catalogue_names_each_problem_once():
    assert len({kind.slug for kind in CATALOGUE}) == len(CATALOGUE) == len({kind.title for kind in CATALOGUE})

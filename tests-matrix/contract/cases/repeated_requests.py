"""Requests with an ``Idempotency-Key``: executed once, and answered alike as often as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from contract.case import DURABLE, case, variants
from contract.site import Site
from sagaz_durable.http.idempotency.keys import Repeatable, new_key
from sagaz_durable.http.messages import HttpRequest
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.contract.request_keys import NewKey
from support.answers import Answer
from support.waiting import until

_NOW = {"ANSWER_WAIT_SECONDS": 0}
_PROBLEMS = "https://github.com/sagaz-web/sagaz-web/blob/main/docs/problems.md#idempotency-key-"


async def _sent(
    site: Site, key: str | None = "k-1", path: str = "/once/order", order: int = 5, **headers: str
) -> Answer:
    given = {} if key is None else {"Idempotency_Key": key}
    return await site.post(path, {"order": order, "id": f"o-{order}"}, **given, **headers)


def _expect_problem(answer: Answer, status: int, slug: str) -> None:
    assert answer.status == status, answer.body
    assert answer.header("Content-Type") == "application/problem+json"
    document = answer.json()
    assert (document["type"], document["status"]) == (f"{_PROBLEMS}{slug}", status)


def _expect_replay(answer: Answer, first: Answer) -> None:
    assert (answer.status, answer.body) == (first.status, first.body)
    assert answer.header("X-Shop") == first.header("X-Shop")
    assert answer.header("Content-Type") == first.header("Content-Type")
    assert (first.header("Idempotent-Replayed"), answer.header("Idempotent-Replayed")) == (None, "true")


@case("repeatable")
async def the_first_answer_is_given_again_byte_by_byte(site: Site) -> None:
    first = await _sent(site)
    assert (first.status, first.json()["saga_id"] != "") == (202, True)
    for _ in range(2):
        _expect_replay(await _sent(site), first)
    assert [run.saga_id for run in await site.runs()] == [first.json()["saga_id"]]


@case("repeatable", "join_session", stores=DURABLE)
async def in_a_transaction_the_answer_is_there_with_its_rows_and_is_given_again(site: Site) -> None:
    first = await _sent(site, path="/once-joined/order")
    for _ in range(2):
        _expect_replay(await _sent(site, path="/once-joined/order"), first)
    assert await site.driver.own_rows() == ["o-5"]
    assert (await site.ended(first.json()["saga_id"])).status == "completed"


@case("repeatable")
async def no_cookie_is_given_again(site: Site) -> None:
    first, again = await _sent(site), await _sent(site)
    assert (first.header("Set-Cookie"), again.header("Set-Cookie")) == ("visitor=7", None)


@case("repeatable")
async def a_key_in_quotes_is_the_same_as_without(site: Site) -> None:
    first = await _sent(site, '"k-1"')
    _expect_replay(await _sent(site, "k-1"), first)


@case("repeatable")
async def a_request_without_a_key_is_refused_and_not_executed(site: Site) -> None:
    _expect_problem(await _sent(site, None), 400, "missing")
    assert await site.runs() == []


@variants(
    empty=("",),
    quotes=('""',),
    open=('"k-1',),
    blank=("k 1",),
    list=("k-1, k-2",),
    long=("k" * 256,),
    control=("k\t1",),
)
@case("repeatable")
async def a_malformed_key_is_refused_and_not_executed(site: Site, key: str) -> None:
    _expect_problem(await _sent(site, key), 400, "malformed")
    assert await site.runs() == []


@case("repeatable")
async def another_request_under_the_same_key_is_refused(site: Site) -> None:
    first = await _sent(site)
    _expect_problem(await _sent(site, order=6), 422, "reused")
    _expect_replay(await _sent(site), first)
    assert len(await site.runs()) == 1


@case("repeatable")
async def the_keys_of_callers_are_apart(site: Site) -> None:
    mine, theirs = await _sent(site, User="ann"), await _sent(site, User="bob")
    assert theirs.header("Idempotent-Replayed") is None
    assert mine.json()["saga_id"] != theirs.json()["saga_id"]
    _expect_replay(await _sent(site, User="ann"), mine)


@case("repeatable")
async def of_many_at_once_one_is_executed_and_all_are_answered_alike(site: Site) -> None:
    answers = await asyncio.gather(*(_sent(site) for _ in range(8)))
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert len(await site.runs()) == 1


@case("repeatable", "join_session", stores=DURABLE)
async def of_many_transactions_at_once_one_is_executed_and_all_are_answered_alike(site: Site) -> None:
    answers = await asyncio.gather(*(_sent(site, path="/once-joined/order") for _ in range(4)))
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert await site.driver.own_rows() == ["o-5"]


@contextmanager
def _held(site: Site) -> Iterator[None]:
    """Have the endpoint wait after its start."""
    site.driver.arrived.clear()
    site.driver.gate.clear()
    try:
        yield
    finally:
        site.driver.gate.set()


@variants(own=("/once/order",), joined=("/once-joined/order",))
@case("repeatable", "join_session", stores=("postgres",), options=_NOW)
async def a_request_that_is_being_executed_is_to_be_sent_again_later(site: Site, path: str) -> None:
    with _held(site):
        executing = asyncio.create_task(_sent(site, path=path))
        await asyncio.to_thread(site.driver.arrived.wait, 30)
        busy = await _sent(site, path=path)
        _expect_problem(busy, 409, "in-progress")
        assert busy.header("Retry-After") == "1"
    first = await executing
    _expect_replay(await _sent(site, path=path), first)


@case("repeatable", "own_commits", options=_NOW)
async def one_that_another_process_may_be_executing_is_to_be_sent_again_later(site: Site) -> None:
    with _held(site):
        executing = asyncio.create_task(_sent(site))
        await asyncio.to_thread(site.driver.arrived.wait, 30)
        _expect_problem(await _sent(site), 409, "in-progress")
    first = await executing
    _expect_replay(await _sent(site), first)


@case("repeatable", "own_commits", options={"LEASE_SECONDS": 1.5, "RENEW_SECONDS": 0.5, **_NOW})
async def a_request_keeps_its_key_for_as_long_as_it_is_executed(site: Site) -> None:
    key = _anns_key(site)
    left = [60.0]

    async def is_renewed() -> bool:
        left.append((await site.driver.ask(lambda store: store.find_key(key.id))).seconds)
        return left[-1] > left[-2]

    with _held(site):
        executing = asyncio.create_task(_sent(site, User="ann"))
        await asyncio.to_thread(site.driver.arrived.wait, 30)
        for _ in range(2):
            await until(is_renewed, "the lease is renewed")
        _expect_problem(await _sent(site, User="ann"), 409, "in-progress")
    first = await executing
    _expect_replay(await _sent(site, User="ann"), first)


def _anns_key(site: Site) -> NewKey:
    endpoint = Repeatable("once", site.shop.sagas["order"])
    body = json.dumps({"order": 5, "id": "o-5"}).encode()
    settings = Settings(lease_seconds=0.1, renew_seconds=0.05)
    return new_key(HttpRequest("POST", "/once/order", body=body), "k-1", "ann", endpoint, settings)


async def _left_by_a_dead_process(site: Site) -> NewKey:
    """Claim the key of a request of Ann's, as a process does that dies within it."""
    key = _anns_key(site)
    assert (await site.driver.ask(lambda store: store.claim_key(key))).claimed
    return key


@case("repeatable")
async def a_dead_process_s_request_is_executed_when_its_lease_is_over(site: Site) -> None:
    key = await _left_by_a_dead_process(site)
    answer = await _sent(site, User="ann")
    assert (answer.status, answer.json()["saga_id"]) == (202, key.saga_id)
    assert "execution" in answer.json()
    _expect_replay(await _sent(site, User="ann"), answer)


@case("repeatable")
async def one_that_died_between_its_start_and_its_answer_is_answered_from_the_run(site: Site) -> None:
    key = await _left_by_a_dead_process(site)
    run = NewRun(str(key.saga_id), "OrderSaga", "{}", "f", not_before=datetime.now(UTC) + timedelta(days=1))
    await site.driver.ask(lambda store: store.insert([run], 1.0))
    answer = await _sent(site, User="ann")
    assert (answer.status, answer.header("Location")) == (202, f"/runs/{key.saga_id}")
    assert answer.json() == {"saga_id": key.saga_id, "status": "pending", "location": f"/runs/{key.saga_id}"}
    assert (await _sent(site, User="ann")).body == answer.body
    assert len(await site.runs()) == 1


@case("repeatable", "own_commits")
async def a_request_that_failed_after_its_start_is_answered_from_the_run(site: Site) -> None:
    """As one whose process died there: the run is there, and is not started again."""
    failed = await _sent(site, Then="503")
    assert failed.status == 503
    [run] = await site.runs()
    again = await _sent(site)
    assert (again.status, again.header("Location")) == (202, f"/runs/{run.saga_id}")
    document = again.json()
    assert (document["saga_id"], document["location"]) == (run.saga_id, f"/runs/{run.saga_id}")
    later = await _sent(site)
    assert (later.body, later.header("Idempotent-Replayed")) == (again.body, "true")
    assert len(await site.runs()) == 1


@case("repeatable", "own_commits")
async def an_endpoint_that_raises_leaves_its_key_to_the_next_request(site: Site) -> None:
    raised = await _sent(site, Then="raise")
    assert raised.error is not None or raised.status == 500
    [run] = await site.runs()
    assert (await _sent(site)).json()["saga_id"] == run.saga_id


@variants(status=("503",), raised=("raise",))
@case("repeatable", "join_session", stores=DURABLE)
async def a_rollback_frees_the_key_and_leaves_no_row(site: Site, then: str) -> None:
    failed = await _sent(site, path="/once-joined/order", Then=then)
    assert failed.error is not None or failed.status in (500, 503)
    assert (await site.runs(), await site.driver.own_rows()) == ([], [])
    answer = await _sent(site, path="/once-joined/order", order=6)
    assert (answer.status, answer.header("Idempotent-Replayed")) == (202, None)
    assert await site.driver.own_rows() == ["o-6"]


@case("repeatable")
async def a_refusal_of_the_endpoint_is_an_answer_too(site: Site) -> None:
    first = await _sent(site, Then="404")
    assert first.status == 404
    _expect_replay(await _sent(site), first)


@variants(large=("large",), stream=("stream",))
@case("repeatable")
async def an_answer_that_is_not_kept_is_given_from_the_run_the_next_time(site: Site, then: str) -> None:
    first = await _sent(site, Then=then)
    assert first.status == 202
    again = await _sent(site)
    [run] = await site.runs()
    assert (again.status, again.json()["saga_id"]) == (202, run.saga_id)
    assert len(again.body) < 1_000


@case("repeatable", options={"KEEP_ANSWERS_SECONDS": 0})
async def a_key_whose_time_is_over_is_a_new_one_and_its_run_the_same(site: Site) -> None:
    first, again = await _sent(site), await _sent(site)
    assert again.header("Idempotent-Replayed") is None
    assert first.json()["execution"] != again.json()["execution"]
    assert first.json()["saga_id"] == again.json()["saga_id"]

"""One request with an ``Idempotency-Key``, from its claim to its answer, over a place that a test scripts."""

from __future__ import annotations

import asyncio

import pytest
from http_shop import Order

from sagaz_durable.http.idempotency.keys import Repeatable
from sagaz_durable.http.idempotency.requests import RepeatableRequest
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import KEY_IN_PROGRESS
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.request_keys import KeyClaim
from sagaz_integration_core.errors import IdempotencyConflict, StoreUnavailable, UsageError


class Place:
    """Says what it is told to, and notes what is asked."""

    def __init__(self, *claims, status=None, keeps=True):
        self.claims, self.run, self.keeps, self.asked = list(claims), status, keeps, []

    async def claim(self, key):
        claim = self.claims.pop(0) if len(self.claims) > 1 else self.claims[0]
        if isinstance(claim, Exception):
            raise claim
        return claim

    async def answer(self, key, answer):
        self.asked.append("answer")
        return self.keeps

    async def free(self, key):
        self.asked.append("free")

    async def commit(self):
        self.asked.append("commit")

    async def status(self, saga_id):
        if isinstance(self.run, BaseException):
            raise self.run
        return self.run

    async def pause(self, seconds):
        self.asked.append("pause")


def sent(place, *, saga=Order, wait=1.0, **options):
    request = HttpRequest("POST", "/orders", headers=(("Idempotency-Key", "k"),), body=b"{}")
    endpoint = Repeatable("shop.create", saga, **options)
    return RepeatableRequest(endpoint, request, "ann", place, Settings(answer_wait_seconds=wait))


FRESH, RESUMED, BUSY = KeyClaim(True), KeyClaim(True, True, saga_id="run-1"), KeyClaim(False, seconds=9.0)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), asyncio.CancelledError()])
async def test_a_key_is_given_back_when_its_run_cannot_be_asked_for(failure):
    place = Place(RESUMED, status=failure)
    with pytest.raises(type(failure)):
        await sent(place).begin()
    assert place.asked == ["free"]


async def test_a_repeated_request_is_answered_when_the_first_one_is_within_its_time():
    request = sent(place := Place(BUSY, BUSY, KeyClaim(False, answer='{"status": 200, "headers": {}, "body": ""}')))
    answer = await request.begin()
    assert (answer.status, place.asked) == (200, ["pause", "pause"])


async def test_without_time_to_wait_it_is_told_at_once_to_come_again():
    place = Place(BUSY)
    with pytest.raises(Problem) as told:
        await sent(place, wait=0).begin()
    assert (told.value.kind, told.value.headers["Retry-After"]) == (KEY_IN_PROGRESS, "1")
    assert place.asked.count("pause") <= 1


async def test_a_store_that_does_not_answer_is_a_problem_that_names_no_detail():
    with pytest.raises(Problem) as told:
        await sent(Place(StoreUnavailable("postgresql://secret"))).begin()
    assert (told.value.kind.status, told.value.detail) == (503, None)
    assert "Retry-After" in told.value.headers


async def test_an_answer_that_came_too_late_gives_way_to_the_one_that_was_kept():
    kept = '{"status": 201, "headers": {"X": "first"}, "body": ""}'
    request = sent(Place(FRESH, KeyClaim(False, answer=kept), keeps=False))
    assert await request.begin() is None
    answer = await request.end(HttpResponse(201, {"X": "second"}), 201)
    assert (answer.status, answer.headers["X"]) == (201, "first")


async def test_an_answer_that_cannot_be_kept_is_an_error_where_no_run_stands_for_it():
    request = sent(place := Place(FRESH), saga=None, joins=True)
    await request.begin()
    with pytest.raises(UsageError, match=r"shop\.create cannot be kept .* a stream, or has more than 262,144 bytes"):
        await request.end(None, 200)
    assert place.asked == ["free"]


@pytest.mark.parametrize("how", ["start", "run"])
async def test_another_second_start_within_a_request_is_a_usage_error_that_names_the_fix(shop, how):
    sagas = Sagas(shop.runtime)
    second = sagas.start if how == "start" else sagas.run
    with sent(Place(FRESH)).starting():
        saga_id = await sagas.start(Order, {"order": 1})
        assert await sagas.start(Order, {"order": 1}) == saga_id
        with pytest.raises(UsageError, match=f"started its saga 'order' twice.*{saga_id}.*an idempotency_key= of its"):
            await second(Order, {"order": 2})
        assert await sagas.start(Order, {"order": 2}, idempotency_key="k-2") != saga_id


async def test_a_first_start_within_a_request_that_contradicts_its_run_is_a_conflict(shop):
    sagas = Sagas(shop.runtime)
    with sent(Place(FRESH)).starting():
        await sagas.start(Order, {"order": 1})
    with sent(Place(FRESH)).starting(), pytest.raises(IdempotencyConflict):
        await sagas.start(Order, {"order": 2})

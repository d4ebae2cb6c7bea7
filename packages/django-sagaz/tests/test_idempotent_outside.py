"""Asynchronous views that clients may repeat, in a project whose runs are kept outside of Django's databases."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.http import JsonResponse
from django.test import AsyncClient, RequestFactory
from django.urls import path

from django_sagaz import Saga, SagazError, action, alist_runs, async_saga_factory, close, idempotent
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import migrate

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k-1"}


class Paid(Saga):
    saga_name = "paid-outside"

    @action("pay")
    async def pay(self, ctx):
        return {"receipt": uuid4().hex}


class Shop:
    """The view, which tells that it was called, and waits at a gate that is mostly open."""

    def __init__(self):
        self.called = asyncio.Semaphore(0)
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def pay(self, request):
        self.calls += 1
        self.called.release()
        await self.gate.wait()
        saga = await async_saga_factory(Paid)
        run = await saga.run(json.loads(request.body))
        return JsonResponse({"saga_id": run.saga_id, "receipt": run["receipt"]}, status=201)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'sagas.db'}"
        return
    from pg import database

    with ExitStack() as stack:
        made = stack.enter_context(database(os.environ["TESTPROJECT_PG"]))
        asyncio.run(migrate(Settings(storage_url=made)))
        yield made


@pytest.fixture
async def shop(url, settings):
    shop = Shop()

    async def view(request):
        return await shop.pay(request)

    paying = idempotent(Paid, caller=lambda request: request.headers.get("User"), location="/runs/{saga_id}")(view)
    settings.SAGAZ = {"STORAGE_URL": url, "ANSWER_WAIT_SECONDS": 0.1}
    settings.ROOT_URLCONF = (path("orders", paying),)
    yield shop
    await asyncio.to_thread(close)


async def post(amount=1, **headers):
    body = json.dumps({"amount": amount})
    return await AsyncClient().post("/orders", body, "application/json", headers={**KEY, **headers})


def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    return answer.status_code, answer.json()["type"].rpartition("#")[2]


async def runs():
    return [run.saga_id for run in (await alist_runs()).runs]


async def test_a_repeated_request_is_answered_as_the_first_one_was(shop):
    first, again = await post(), await post()
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert shop.calls == 1
    assert await runs() == [first.json()["saga_id"]]


async def test_a_key_is_its_callers_own(shop):
    first, other = await post(User="ada"), await post(User="bob")
    assert first.json()["saga_id"] != other.json()["saga_id"]
    assert shop.calls == 2


async def test_another_request_under_the_key_is_refused_and_starts_nothing(shop):
    first = await post(1)
    assert problem(await post(2)) == (422, "idempotency-key-reused")
    assert await runs() == [first.json()["saga_id"]]


async def test_a_request_that_is_being_executed_is_told_so_and_not_executed_again(shop):
    shop.gate.clear()
    first = asyncio.create_task(post())
    await shop.called.acquire()
    meanwhile = await post()
    assert (problem(meanwhile), meanwhile.headers["Retry-After"]) == ((409, "idempotency-key-in-progress"), "1")
    shop.gate.set()
    assert (await first).status_code == 201
    assert (await post()).content == (await first).content
    assert shop.calls == 1


async def test_the_loop_goes_on_while_the_store_is_opened(shop, monkeypatch):
    begun, gate, opened = threading.Event(), threading.Event(), SagazRuntime.open
    passed = []

    async def slowly(self, **options):
        begun.set()
        # A loop that waits for the store cannot open the gate, so that this gives up.
        passed.append(await asyncio.to_thread(gate.wait, 10))
        await opened(self, **options)

    monkeypatch.setattr(SagazRuntime, "open", slowly)
    asking = asyncio.create_task(post())
    while not (begun.is_set() or asking.done()):
        await asyncio.sleep(0.01)
    gate.set()
    assert (await asking).status_code == 201
    assert passed == [True]


async def test_a_plain_view_that_has_no_transaction_to_join_says_why(shop):
    view = idempotent(Paid, caller=None)(lambda request: JsonResponse({}))
    with pytest.raises(SagazError, match="STORAGE_URL"):
        view(RequestFactory().post("/orders", headers=KEY))

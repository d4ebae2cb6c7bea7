"""The routes in synchronous code: in the request's own thread, and never waiting for what cannot come."""

from __future__ import annotations

import asyncio
import threading

import pytest
from http_shop import ask, read

from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.http.synchronous import BlockingScope, done_now
from sagaz_integration_core.errors import UsageError


async def test_a_route_is_answered_in_a_thread_and_its_hooks_are_called_there(file_shop):
    shop, threads = file_shop, []
    saga_id = await shop.started("waiting", waits=True)

    def may(request, verb, subject):
        threads.append(threading.current_thread())
        return True

    def serve():
        api = SagaApi(BlockingScope(shop.runtime), ApiRules(may, actor=lambda request: request))
        assert read(done_now(api.show_run(ask(), saga_id)))["status"] == "waiting"
        assert done_now(api.decide(ask("POST"), saga_id, "cancel")).status == 200
        assert read(done_now(api.list_runs(ask())))["runs"][0]["saga_id"] == saga_id
        return threading.current_thread()

    served_by = await asyncio.to_thread(serve)
    assert set(threads) == {served_by}


async def test_a_hook_that_awaits_is_refused_with_what_to_do(shop):
    saga_id = await shop.started()

    async def may(request, verb, subject):
        await asyncio.sleep(0)

    def serve():
        return done_now(SagaApi(BlockingScope(shop.runtime), ApiRules(may)).show_run(ask(), saga_id))

    with pytest.raises(UsageError, match="def function"):
        await asyncio.to_thread(serve)

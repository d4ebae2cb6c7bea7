"""The loop that all asynchronous views share: who needs it gets it, whatever happened to others who needed it."""

from __future__ import annotations

import asyncio

import pytest
from places import on, until
from sagaz import SagaConfig

from django_sagaz import RuntimeNotOpen, SettingsError
from django_sagaz._execution.shared_loop import Host
from django_sagaz._project.current import current_project


@pytest.fixture
def host(home):
    host = Host(current_project())
    yield host
    host.close()


async def is_open(runtime):
    return runtime.is_open


@on("default")
def test_a_view_that_is_cancelled_while_the_loop_starts_takes_it_from_nobody(host):
    async def views():
        first = asyncio.create_task(host.reach(is_open))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await host.reach(is_open)

    assert asyncio.run(views())


@on("default")
def test_a_loop_that_was_stopped_is_replaced_by_another(host, caplog):
    async def stop(runtime):
        runtime.loop.stop()

    def works():
        try:
            return host.call(is_open)
        except RuntimeNotOpen:
            return False

    stopped = host._start().result(20)
    host.call(stop)
    until(works)
    assert not stopped.is_open
    # The thread tells the log when another may already have taken its place.
    until(lambda: "The event loop of sagaz has ended unexpectedly" in caplog.text)


@on("default")
def test_a_configuration_that_cannot_be_used_is_refused_at_each_use(host, monkeypatch):
    class RedisSagaStorage:
        pass

    config = SagaConfig()
    config.storage = RedisSagaStorage()
    monkeypatch.setattr("sagaz_durable.configured_globally", lambda: config)
    for _ in range(2):
        with pytest.raises(SettingsError, match="RedisSagaStorage"):
            host.call(is_open)
    monkeypatch.undo()
    assert host.call(is_open)

"""When a worker turns to runs that are to be executed alone, and when it leaves them to others."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from sagaz_durable.workers import suspects
from sagaz_durable.workers.suspects import Suspects
from sagaz_integration_core.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Store:
    """Tells which sagas have a suspect, and who lives; counts how often it was asked."""

    def __init__(self) -> None:
        self.alone, self.alive, self.asked, self.error = set(), [], 0, None

    async def any_alone(self, sagas):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return bool(self.alone & set(sagas))

    async def workers(self):
        return self.alive


def worker(*sagas, kind="worker"):
    return SimpleNamespace(kind=kind, sagas=sagas)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(time=1000.0)
    monkeypatch.setattr(suspects, "now", lambda: clock.time)
    return clock


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def new(store, clock):
    """Makes the choice of one worker, which knows two sagas: leases last 30 seconds, and it polls every 2."""

    def new(*, command=True, drain=False, poll=2.0):
        environment = SimpleNamespace(
            store=store,
            settings=SimpleNamespace(lease_seconds=30.0, poll_seconds=poll),
            registry=SimpleNamespace(first_steps={"order": (), "parcel": ()}),
        )
        return Suspects(environment, command=command, drain=drain)

    return new


async def test_a_busy_worker_looks_once_in_a_lease_and_makes_room_when_one_waits(new, store, clock):
    choice = new()
    store.alone = {"order"}
    clock.time += 29.9
    assert not await choice.want_room()
    assert store.asked == 0
    clock.time += 0.1
    assert await choice.want_room()
    clock.time += 100
    store.alone = set()
    assert await choice.want_room(), "until it has come first"
    assert store.asked == 1


async def test_a_busy_worker_that_finds_none_looks_again_a_lease_later(new, store, clock):
    choice = new()
    clock.time += 30
    assert not await choice.want_room()
    store.alone = {"order"}
    clock.time += 29
    assert not await choice.want_room()
    clock.time += 1
    assert await choice.want_room()


async def test_after_one_was_claimed_others_get_their_turn_for_a_lease(new, store, clock):
    choice = new(poll=3600)
    assert await choice.claimable()
    store.alone = {"order"}
    clock.time += 30
    assert await choice.want_room()
    assert await choice.claimable() == ["order", "parcel"], "at once, whenever it has asked last"
    assert not await choice.want_room()
    clock.time += 29
    assert not await choice.want_room()
    clock.time += 1
    assert await choice.want_room()


async def test_an_idle_worker_command_may_claim_one_of_what_it_knows_between_two_polls_once(new, store, clock):
    choice = new()
    assert await choice.claimable() == ["order", "parcel"]
    clock.time += 1.9
    assert await choice.claimable() == []
    clock.time += 0.1
    assert await choice.claimable() == ["order", "parcel"]
    assert store.asked == 0, "the claim itself finds out"


async def test_a_worker_that_drains_asks_each_time(new, clock):
    choice = new(drain=True)
    for _ in range(3):
        assert await choice.claimable() == ["order", "parcel"]


async def test_a_worker_inside_an_application_takes_one_when_no_worker_command_knows_it(new, store):
    store.alive = [worker("ship"), worker("order", "parcel", kind="embedded"), worker("order", kind="web")]
    assert await new(command=False).claimable() == [], "none waits"
    store.alone, store.asked = {"order"}, 0
    assert await new(command=False).claimable() == ["order", "parcel"]
    assert store.asked == 1


async def test_it_leaves_those_to_worker_commands_that_know_them(new, store):
    store.alone, store.alive = {"order"}, [worker("order", "parcel")]
    assert await new(command=False).claimable() == []
    assert store.asked == 1
    store.alive = [worker("order"), worker("ship")]
    assert await new(command=False).claimable() == []
    store.alone = {"order", "parcel"}
    assert await new(command=False).claimable() == ["parcel"]


async def test_a_busy_worker_inside_an_application_makes_no_room_for_what_others_take(new, store, clock):
    store.alone, store.alive = {"order"}, [worker("order")]
    choice = new(command=False)
    clock.time += 30
    assert not await choice.want_room()
    store.alive = []
    clock.time += 30
    assert await choice.want_room()


@pytest.mark.parametrize(
    ("error", "level"), [(StoreUnavailable("away"), logging.DEBUG), (RuntimeError("ours"), logging.ERROR)]
)
async def test_a_store_that_cannot_tell_is_asked_again_and_ends_no_worker(new, store, clock, caplog, error, level):
    caplog.set_level(logging.DEBUG)
    store.alone, store.error = {"order"}, error
    choice = new(command=False)
    assert await choice.claimable() == []
    [record] = caplog.records
    assert (record.levelno, "is not known now" in record.getMessage()) == (level, True)
    store.error = None
    clock.time += 2
    assert await choice.claimable() == ["order", "parcel"]

"""Ends of steps that wait for a further write: none is forgotten, none waits long, and one timer serves all."""

from __future__ import annotations

import pytest

from sagaz_durable.concurrency.held_writes import HeldWrites


class Loop:
    """An event loop whose time passes when a test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, object]] = []

    def call_later(self, seconds, callback):
        self.timers.append((seconds, callback))

    def tick(self):
        [(_, callback)], self.timers = self.timers, []
        callback()


class Holder:
    def __init__(self) -> None:
        self.flushed = 0

    def flush(self):
        self.flushed += 1


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def held(loop) -> HeldWrites:
    return HeldWrites(loop)


def test_what_is_held_is_flushed_once_at_the_second_tick_after_it(loop, held):
    holder = Holder()
    held.hold(holder)
    loop.tick()
    assert holder.flushed == 0, "it has had no tick for itself"
    loop.tick()
    assert (holder.flushed, loop.timers) == (1, [])


def test_what_is_released_in_time_is_not_flushed(loop, held):
    early, late = Holder(), Holder()
    held.hold(early)
    held.release(early)
    held.hold(late)
    loop.tick()
    held.release(late)
    loop.tick()
    assert (early.flushed, late.flushed) == (0, 0)
    held.release(late)  # Harmless.


def test_one_timer_serves_all_and_none_is_left_when_nothing_is_held(loop, held):
    holders = [Holder() for _ in range(3)]
    for holder in holders:
        held.hold(holder)
    assert len(loop.timers) == 1
    loop.tick()
    assert len(loop.timers) == 1
    late = Holder()
    held.hold(late)
    assert len(loop.timers) == 1, "the timer that is set serves this one too"
    loop.tick()
    assert ([holder.flushed for holder in holders], late.flushed) == ([1, 1, 1], 0)
    loop.tick()
    assert (late.flushed, loop.timers) == (1, [])


def test_after_all_is_quiet_the_next_one_is_flushed_as_well(loop, held):
    for _ in range(2):
        holder = Holder()
        held.hold(holder)
        assert 0 < loop.timers[0][0] < 0.1, "a moment"
        loop.tick()
        loop.tick()
        assert holder.flushed == 1

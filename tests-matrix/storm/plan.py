"""What a storm is made of, all of it drawn from one seed: orders, their misfortunes, and the kills."""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

__all__ = ["STEPS", "Order", "Plan", "Signal"]

STEPS = ("reserve", "charge", "pack", "ship")

_BLOCKS = (1.0, 4.0)
"""Seconds for which a step blocks its event loop."""

_KINDS = ("deferred", "deferred", "deferred", "background", "inline")


_CROWD = 50
"""How many send the same signal at once, of some."""


@dataclass(frozen=True)
class Signal:
    """One signal that clients send, each of them until it is acknowledged.

    Attributes:
        key: Of the order that it is for, under which whatever waits of that order waits.
        due: Seconds after the storm's beginning at which all of its senders send it; infinite if they wait until every
            run has ended.
        is_webhook: Whether it is an event that is delivered as a webhook.
        pause: Seconds that an application takes to see what an event means.
        is_repeated: Whether an event is delivered again by each sender although it was answered, and once more at the
            end.
        kills: Whether an event kills the server that has recorded it first, before it answers.
        to_run: Whether an event is for a run by its id, and none that it needs: it may come when that has ended.
    """

    signal_id: str
    key: str
    due: float
    senders: int
    is_webhook: bool = False
    pause: float = 0.0
    is_repeated: bool = False
    kills: bool = False
    to_run: bool = False


@dataclass(frozen=True)
class Order:
    """One saga that a client starts.

    Attributes:
        due: Seconds after the storm's beginning at which it is sent.
        fails: The step that raises, if one does.
        crashes: The compensations that kill their own process, each once.
        broken: The compensation that raises at every call; manual intervention is needed then.
        insists: Whether the client sends it again, under the same key, until it is acknowledged.
        blocks: The step that blocks its event loop for ``block_seconds``, if one does.
        poisoned: Whether its first step kills its process at every call.
        other: Whether it is of the saga that some workers do not know.
        waits: The calls that wait for a signal, as ``charge do`` or ``reserve undo``.
    """

    number: int
    kind: str
    due: float
    fails: str | None
    crashes: tuple[str, ...]
    broken: str | None
    insists: bool
    blocks: str | None = None
    block_seconds: float = 0.0
    poisoned: bool = False
    other: bool = False
    waits: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"order-{self.number}"

    @property
    def context(self) -> dict[str, Any]:
        pause = (self.number * 7 % 40) / 1_000 if self.number % 10 else 0.3
        return {
            "number": self.number, "fails": self.fails, "crashes": list(self.crashes), "broken": self.broken,
            "pause": pause, "blocks": self.blocks, "block_seconds": self.block_seconds, "poisoned": self.poisoned,
            "other": self.other, "waits": list(self.waits),
        }  # fmt: skip

    @property
    def outcome(self) -> str:
        """The only truthful final status."""
        if self.poisoned:
            return "failed"
        if self.fails is None:
            return "completed"
        return "failed" if self.broken else "rolled_back"


@dataclass(frozen=True)
class Plan:
    """The size of a storm, and what is drawn from its seed.

    Attributes:
        restarts: How often the database is crashed and started again.
        kill_every: The shortest and the longest pause between kills.
        rough: Whether processes are stopped and go on, steps block their event loops, one order kills whoever executes
            it, and the first of several workers knows half of the sagas.
        waits: Whether steps and compensations wait for signals, some of which come early and some from many at once;
            half of them are webhooks.
    """

    workers: int
    webs: int
    sagas: int
    seconds: float
    restarts: int = 0
    kill_every: tuple[float, float] = (0.4, 0.95)
    rough: bool = False
    waits: bool = False
    seed: int = 1

    def from_env(self) -> Self:
        """Return the plan with what the environment changes of it."""
        env = os.environ
        return replace(
            self,
            seed=int(env.get("SAGAZ_TEST_STORM_SEED", self.seed)),
            seconds=float(env.get("SAGAZ_TEST_STORM_SECONDS", self.seconds)),
            sagas=int(env.get("SAGAZ_TEST_STORM_SAGAS", self.sagas)),
        )

    @property
    def block_seconds(self) -> float:
        """The longest time for which a step blocks its event loop, which then records no ends of others."""
        return _BLOCKS[1] if self.rough else 0.0

    @property
    def limit(self) -> int:
        """Seconds after which a test of this storm hangs."""
        return int(self.seconds * 3 + 150 + 240 * self.rough)

    def orders(self) -> list[Order]:
        """Return all orders, in the order in which they are sent."""
        dice = random.Random(f"orders {self.seed}")
        orders = [self._order(number, dice) for number in range(self.sagas)]
        orders = self._with_waits(orders) if self.waits else orders
        return self._roughened(orders) if self.rough else orders

    def _with_waits(self, orders: list[Order]) -> list[Order]:
        dice = random.Random(f"waits {self.seed}")
        waiting = []
        for order in orders:
            done = STEPS[: STEPS.index(order.fails)] if order.fails else ()
            calls = [f"{step} do" for step in (*done, order.fails)] if order.fails else [f"{step} do" for step in STEPS]
            calls += [f"{step} undo" for step in reversed(done)]
            waiting.append(replace(order, waits=tuple(call for call in calls if dice.random() < 0.4)))
        return waiting

    def signals(self) -> list[Signal]:
        """Return the signals, in the order in which they are sent: one for each wait, and events that nobody needs."""
        dice = random.Random(f"signals {self.seed}")
        found = []
        for order in self.orders():
            at = order.due - 0.5
            for n, _ in enumerate(order.waits):
                at += dice.uniform(0, 2)
                senders = _CROWD if dice.random() < 0.05 else dice.choice((1, 2))
                found.append(Signal(f"{order.number}-{n}", order.key, min(at, self.seconds), senders))
        return sorted(self._with_webhooks(found), key=lambda signal: signal.due)

    def _with_webhooks(self, signals: list[Signal]) -> list[Signal]:
        """Make webhooks of half of the signals, and add some that come when their run needs them no more."""
        dice = random.Random(f"webhooks {self.seed}")
        found = [replace(signal, is_webhook=dice.random() < 0.5) for signal in signals]
        for order in self.orders():
            if dice.random() < 0.25:
                due = math.inf if dice.random() < 0.3 else min(order.due + dice.uniform(0, self.seconds), self.seconds)
                event = Signal(f"{order.number}-run", order.key, due, dice.choice((1, 2)), is_webhook=True, to_run=True)
                found.append(event)
        events = [n for n, signal in enumerate(found) if signal.is_webhook]
        for n in events:
            found[n] = replace(found[n], pause=dice.uniform(0, 0.1), is_repeated=dice.random() < 0.4)
        # One, and early: with a single server nobody is answered until there is another one.
        killers = [n for n in events if not found[n].to_run and found[n].due < self.seconds / 2]
        for n in dice.sample(killers, min(1, len(killers))):
            found[n] = replace(found[n], kills=True)
        return found

    def _roughened(self, orders: list[Order]) -> list[Order]:
        dice = random.Random(f"rough orders {self.seed}")
        rough = []
        for order in orders:
            blocks = dice.choice(STEPS) if dice.random() < 0.02 else None
            changes: dict[str, Any] = {"other": order.kind == "deferred" and dice.random() < 0.5, "blocks": blocks}
            rough.append(replace(order, block_seconds=dice.uniform(*_BLOCKS) if blocks else 0.0, **changes))
        # Late in the storm: by then a worker always has others beside it.
        poisoned = self.sagas // 2
        rough[poisoned] = replace(
            rough[poisoned],
            kind="deferred",
            fails=None,
            crashes=(),
            broken=None,
            blocks=None,
            poisoned=True,
            insists=True,
        )
        return rough

    def _order(self, number: int, dice: random.Random) -> Order:
        fails = dice.choice(STEPS) if dice.random() < 0.35 else None
        done = STEPS[: STEPS.index(fails)] if fails else ()
        crashes = tuple(step for step in done if dice.random() < 0.05)
        broken = dice.choice(done) if done and dice.random() < 0.1 else None
        kind = dice.choice(_KINDS)
        due = number * self.seconds / self.sagas
        return Order(number, kind, due, fails, crashes, broken, kind != "inline" and dice.random() < 0.9)

    def kills(self) -> Iterator[tuple[float, int]]:
        """Yield the pause before each kill, and which process is its victim."""
        dice = random.Random(f"kills {self.seed}")
        while True:
            yield dice.uniform(*self.kill_every), dice.randrange(self.workers + self.webs)

    def stops(self) -> Iterator[tuple[float, int, float]]:
        """Yield the pause before each SIGSTOP, which process gets it, and for how many seconds."""
        dice = random.Random(f"stops {self.seed}")
        while self.rough:
            yield dice.uniform(0.5, 1.5), dice.randrange(self.workers + self.webs), dice.uniform(0.2, 6)

    def intended(self) -> Counter[str]:
        """Return how many kills the storm's time has room for, of workers and of servers, those by events too."""
        found: Counter[str] = Counter()
        if self.waits:
            found["server"] += sum(signal.kills for signal in self.signals())
        at = 0.0
        for pause, victim in self.kills():
            at += pause
            if at > self.seconds:
                break
            found["worker" if victim < self.workers else "server"] += 1
        return found

    def restart_times(self) -> list[float]:
        """Return when the database is restarted, in seconds after the beginning."""
        return [self.seconds * (index + 1) / (self.restarts + 1) for index in range(self.restarts)]

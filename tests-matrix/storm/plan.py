"""What a storm is made of, all of it drawn from one seed: orders, their misfortunes, and the kills."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

__all__ = ["STEPS", "Order", "Plan"]

STEPS = ("reserve", "charge", "pack", "ship")

_KINDS = ("deferred", "deferred", "deferred", "background", "inline")


@dataclass(frozen=True)
class Order:
    """One saga that a client starts.

    Attributes:
        due: Seconds after the storm's beginning at which it is sent.
        fails: The step that raises, if one does.
        crashes: The compensations that kill their own process, each once.
        broken: The compensation that raises at every call; a person is needed then.
        insists: Whether the client sends it again, under the same key, until it is acknowledged.
    """

    number: int
    kind: str
    due: float
    fails: str | None
    crashes: tuple[str, ...]
    broken: str | None
    insists: bool

    @property
    def key(self) -> str:
        return f"order-{self.number}"

    @property
    def context(self) -> dict[str, Any]:
        pause = (self.number * 7 % 40) / 1_000 if self.number % 10 else 0.3
        return {
            "number": self.number, "fails": self.fails, "crashes": list(self.crashes), "broken": self.broken,
            "pause": pause,
        }  # fmt: skip

    @property
    def outcome(self) -> str:
        """The only truthful final status."""
        if self.fails is None:
            return "completed"
        return "failed" if self.broken else "rolled_back"


@dataclass(frozen=True)
class Plan:
    """The size of a storm, and what is drawn from its seed.

    Attributes:
        restarts: How often the database is crashed and started again.
        kill_every: The shortest and the longest pause between kills.
    """

    workers: int
    webs: int
    sagas: int
    seconds: float
    restarts: int = 0
    kill_every: tuple[float, float] = (0.4, 0.95)
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
    def limit(self) -> int:
        """Seconds after which a test of this storm hangs."""
        return int(self.seconds * 3 + 150)

    def orders(self) -> list[Order]:
        """Return all orders, in the order in which they are sent."""
        dice = random.Random(f"orders {self.seed}")
        return [self._order(number, dice) for number in range(self.sagas)]

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

    def intended(self) -> Counter[str]:
        """Return how many kills the storm's time has room for, of workers and of servers."""
        found: Counter[str] = Counter()
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

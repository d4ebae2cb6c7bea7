"""A Redis of the test's own, and what is done to the messages in it."""

from __future__ import annotations

import base64
import json
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis
from celery import Celery

from support.programs import Program, free_port
from support.waiting import until_true

__all__ = ["Broker", "Mischief"]

QUEUE = "celery"
_SLICE = 0.4
_MOST = 20


class Broker:
    """A child process on a free port of the loopback interface; it forgets everything at its end."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        server = shutil.which("redis-server")
        assert server is not None
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        self._program = Program([server, *options], folder / "redis.log", {})
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=5)
        self._celery = Celery("test", broker=self.url, set_as_current=False)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._program.start()
        until_true(self._answers, "Redis answers")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def crash(self) -> None:
        """SIGKILL: every message is gone."""
        self._program.kill()

    def send(self, task: str, *arguments: str, countdown: float = 0) -> None:
        """Send a message, as anybody may."""
        self._celery.send_task(task, arguments, countdown=countdown)

    def close(self) -> None:
        self._celery.close()
        self.client.close()
        self._program.close()

    def waiting(self) -> int:
        """How many messages are in the queue, or taken and not acknowledged."""
        return int(self.client.llen(QUEUE)) + int(self.client.hlen("unacked"))  # type: ignore[arg-type]


@dataclass
class Mischief:
    """Drops messages and repeats them, in slices of time that a seed has drawn; called in a thread of its own.

    Attributes:
        folder: Where a note of what was done is written.
        done: How often what was done.
        outages: When the broker was unreachable.
    """

    broker: Broker
    seed: int
    folder: Path
    done: Counter[str] = field(default_factory=Counter)
    outages: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"mischief {self.seed}")
        self._seen: list[str] = []

    def __call__(self, over: threading.Event) -> None:
        acts: list[Callable[[], None]] = [*[self._drop] * 3, *[self._repeat] * 3, self._flush, self._crash]
        try:
            while not over.is_set():
                self._dice.shuffle(acts)
                for act in acts:
                    act()
                    if over.wait(self._dice.uniform(0.1, 0.5)):
                        break
        finally:
            (self.folder / "mischief.json").write_text(json.dumps(self.done))

    def _drop(self) -> None:
        for name, _, _ in self._taken():
            self.done[f"dropped {name}"] += 1

    def _repeat(self) -> None:
        for name, arguments, message in self._taken():
            self.broker.client.lpush(QUEUE, message)
            if name == "sagaz.run":
                self._seen += arguments
            for saga_id in [*arguments, *self._dice.sample(self._seen, min(3, len(self._seen)))]:
                # At once, and once more when the run may have ended.
                for late in (0, 0, 2):
                    self.broker.send("sagaz.run", saga_id, countdown=late)
                    self.done["repeated"] += 1

    def _taken(self) -> Iterator[tuple[str, list[str], bytes]]:
        """Take messages out of the queue before Celery does, for a while, and not those again that are put back."""
        until = time.monotonic() + _SLICE
        for _ in range(_MOST):
            if time.monotonic() > until:
                break
            if (found := self.broker.client.brpop([QUEUE], timeout=0.05)) is not None:
                message = json.loads(found[1])
                arguments, *_ = json.loads(base64.b64decode(message["body"]))
                yield message["headers"]["task"], arguments, found[1]

    def _flush(self) -> None:
        self.broker.client.flushall()
        self.done["flushed"] += 1

    def _crash(self) -> None:
        down = time.monotonic()
        self.broker.crash()
        # For so long nobody can send anything.
        time.sleep(self._dice.uniform(0.2, 0.8))
        self.broker.start()
        self.outages.append((down, time.monotonic()))
        self.done["crashed"] += 1

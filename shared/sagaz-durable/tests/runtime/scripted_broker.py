"""A broker whose misfortunes a test decides."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from sagaz.core.outbox.brokers.base import BaseBroker, BrokerConfig, BrokerConnectionError, BrokerPublishError

__all__ = ["ScriptedBroker"]


class ScriptedBroker(BaseBroker):
    """Takes everything, but for what the test says.

    Attributes:
        up: Whether it is there.
        refuses: What it raises when somebody connects.
        silent: Whether it answers nobody, though it is there.
        poison: What an event of a topic does: ``refused``, ``breaks`` the connection, ``hangs``, ``full``.
        taken: The messages that it took, in their order.
        tries: How often each event was handed to it.
        connects: How often it was connected to.
    """

    def __init__(self, publish_seconds: float = 0.3) -> None:
        super().__init__(BrokerConfig(publish_timeout_seconds=publish_seconds))
        self.up = True
        self.refuses: Exception | None = None
        self.silent = False
        self.poison: dict[str, str] = {}
        self.taken: list[dict[str, Any]] = []
        self.tries: dict[str, int] = defaultdict(int)
        self.connects = 0
        self._broken = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        """The ids of the events that it took."""
        return [message["event_id"] for message in self.taken]

    def break_connection(self) -> None:
        """Everything that is under way fails, and whatever follows, until somebody connects again."""
        self._broken.set()

    async def connect(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if not self.up:
            raise BrokerConnectionError("refused")
        if self.refuses is not None:
            raise BrokerConnectionError("not connected") from self.refuses
        assert not self._connected, "connected twice"
        self._connected, self._broken = True, asyncio.Event()
        self.connects += 1

    async def publish(
        self, topic: str, message: bytes, headers: dict[str, str] | None = None, key: str | None = None
    ) -> None:
        body = json.loads(message)
        self.tries[body["event_id"]] += 1
        # As on a network, others come in between.
        await asyncio.sleep(0.001)
        if not self.up or self._broken.is_set() or not self._connected:
            raise BrokerPublishError("no connection")
        match "hangs" if self.silent else self.poison.get(topic):
            case "refused":
                raise BrokerPublishError("routing key") from ValueError("too long")
            case "full":
                raise BrokerPublishError("full") from type("OutOfMemoryError", (_ResponseError,), {})()
            case "breaks":
                self.break_connection()
                raise BrokerPublishError("connection lost")
            case "hangs":
                await self._broken.wait()
                raise BrokerPublishError("connection lost")
        self.taken.append({**body, "headers": headers, "key": key})

    async def close(self) -> None:
        self._connected = False
        self._broken.set()
        if self.silent:
            await asyncio.Event().wait()

    async def health_check(self) -> bool:
        return self._connected


class _ResponseError(Exception):
    pass


_ResponseError.__name__ = "ResponseError"

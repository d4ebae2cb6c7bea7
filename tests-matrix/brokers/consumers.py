"""What arrived at a broker: everything, in the order in which it arrived."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from brokers.servers import RabbitMQServer, RedisServer, Server

__all__ = ["Broker", "Message", "RabbitMQ", "Redis"]


@dataclass(frozen=True)
class Message:
    """One message: its body, decoded, and its headers."""

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def event_id(self) -> str:
        event_id: str = self.body["event_id"]
        assert self.headers["event_id"] == event_id
        return event_id


class Broker(Protocol):
    """A server, how it is published to, and how it is read from.

    Attributes:
        too_large: The size in bytes of a payload that the broker refuses, and the runtime accepts.
    """

    server: Server
    too_large: int

    @property
    def url(self) -> str:
        """What the application is configured with."""
        ...

    async def prepare(self) -> None:
        """Begin to keep what arrives."""
        ...

    async def messages(self) -> list[Message]:
        """Return everything that has arrived."""
        ...


class Redis:
    """A stream that keeps everything, and takes no value over 1 MiB."""

    too_large = 1_048_500

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return f"{self.server.url}?max_stream_length=1000000"

    async def prepare(self) -> None:
        """A stream needs nobody to keep what arrives."""

    async def messages(self) -> list[Message]:
        from redis.asyncio import Redis as Client

        async with Client.from_url(self.server.url) as client:
            entries = await client.xrange("sage.outbox")
        return [_from_fields(fields) for _, fields in entries]


def _from_fields(fields: dict[bytes, bytes]) -> Message:
    headers = {
        name.decode().removeprefix("header:"): value.decode()
        for name, value in fields.items()
        if name.startswith(b"header:")
    }
    return Message(json.loads(fields[b"payload"]), headers)


class RabbitMQ:
    """A durable queue that is bound for everything; no message over 64 kB is taken."""

    too_large = 100_000

    def __init__(self, server: RabbitMQServer) -> None:
        self.server = server
        self._read: list[Message] = []

    @property
    def url(self) -> str:
        return self.server.url

    async def prepare(self) -> None:
        """Declare exchange and queue, as a consumer would before the producers start."""
        import aio_pika

        async with await aio_pika.connect(self.server.url) as connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange("sage.outbox", aio_pika.ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue("everything", durable=True)
            await queue.bind(exchange, "#")

    async def messages(self) -> list[Message]:
        import aio_pika

        async with await aio_pika.connect(self.server.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("everything", durable=True)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                headers = {name: str(value) for name, value in message.headers.items()}
                self._read.append(Message(json.loads(message.body), headers))
        return list(self._read)

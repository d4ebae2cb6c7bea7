"""What RabbitMQ is asked to keep, told by a stand-in for its client's connection."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sagaz_durable._upstream.broker_connection import BrokerLine
from sagaz_durable._upstream.brokers import make_broker
from sagaz_integration_core.contract.events import OutboxRecord

aio_pika = pytest.importorskip("aio_pika")

pytestmark = pytest.mark.anyio


class Server:
    """Notes which exchange is declared, and what is published to it."""

    def __init__(self):
        self.declared, self.published = [], []
        self.return_callbacks = set()

    async def connect(self, url, **options):
        return SimpleNamespace(channel=self.channel, close=self.close)

    async def channel(self):
        return self

    async def close(self):
        """Nothing was opened."""

    async def declare_exchange(self, name, kind, *, durable):
        self.declared.append((name, durable))
        return self

    async def publish(self, message, *, routing_key):
        self.published.append((routing_key, message))


async def test_exchange_and_messages_survive_a_restart_of_the_server(monkeypatch):
    server = Server()
    monkeypatch.setattr(aio_pika, "connect", server.connect)
    line = BrokerLine(make_broker("amqp://h/?exchange_name=shop"))
    await line.open()
    now = datetime.now(UTC)
    await line.publish(OutboxRecord(1, "e1", "s1", "orders", "{}", "{}", "pending", 0, None, now, now, None))
    await line.close()
    assert server.declared == [("shop", True)]
    [(topic, message)] = server.published
    assert (topic, message.delivery_mode) == ("orders", aio_pika.DeliveryMode.PERSISTENT)

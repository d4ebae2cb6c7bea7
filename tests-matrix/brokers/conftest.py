"""A broker for each test; without its program nothing here can be shown."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers.consumers import Broker, RabbitMQ, Redis
from brokers.servers import RabbitMQServer, RedisServer, missing


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A running server in a folder of its own, near the root: Erlang's paths must be short."""
    pytest.importorskip("redis")
    pytest.importorskip("aio_pika")
    if reason := missing():
        pytest.skip(reason)
    folder = Path(tempfile.gettempdir()) / f"sagaz-broker-{os.getpid()}-{secrets.token_hex(3)}"
    made: Broker
    if request.param == "redis":
        made = Redis(RedisServer(folder, "--proto-max-bulk-len", "1mb"))
    else:
        made = RabbitMQ(RabbitMQServer(folder, "max_message_size = 65536"))
    try:
        made.server.start()
        yield made
    finally:
        made.server.close()
        shutil.rmtree(folder, ignore_errors=True)

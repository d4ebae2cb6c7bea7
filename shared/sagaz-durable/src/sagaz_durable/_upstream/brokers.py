"""Making sagaz's brokers, and connecting and disconnecting them: each in its own way, and none as it does it itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sagaz_durable.settings.urls import BrokerURL, parse_broker_url
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.errors import SettingsError

__all__ = ["connect", "disconnect", "make_broker"]

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_CLIENT = ("_client", "_producer", "_channel", "_exchange", "_connection")
"""Where sagaz's brokers keep what they opened."""


def make_broker(url: str, wording: Wording = NEUTRAL) -> Any:
    """Return a broker that is not connected yet.

    The URL may have, as parameters, ``stream_name`` and ``max_stream_length`` (Redis) or ``exchange_name`` (RabbitMQ).

    Raises:
        SettingsError: The URL is wrong, or the broker's client is not installed.
    """
    parsed = parse_broker_url(url)
    from sagaz import MissingDependencyError

    try:
        return _make(parsed, wording)
    except (ImportError, MissingDependencyError) as error:
        raise SettingsError(
            f'A {parsed.kind} broker is configured, and its client is not installed: pip install "sagaz[{parsed.kind}]"'
        ) from error


def _make(parsed: BrokerURL, wording: Wording) -> Any:
    # Not sagaz's own factory: it refuses rediss:// and amqps://, and prints the password when it does.
    if parsed.kind == "redis":
        from sagaz.core.outbox.brokers.redis import RedisBroker, RedisBrokerConfig

        url, own = _split(parsed.url, wording, "stream_name", "max_stream_length")
        _check_redis(url)
        return RedisBroker(RedisBrokerConfig(url=url, **own))
    if parsed.kind == "rabbitmq":
        from sagaz.core.outbox.brokers.rabbitmq import RabbitMQBroker, RabbitMQBrokerConfig

        url, own = _split(parsed.url, wording, "exchange_name")
        return RabbitMQBroker(RabbitMQBrokerConfig(url=url, **own))
    if parsed.kind == "kafka":
        from sagaz.core.outbox.brokers.kafka import KafkaBroker, KafkaBrokerConfig

        return KafkaBroker(KafkaBrokerConfig(bootstrap_servers=parsed.url.removeprefix("kafka://").rstrip("/")))
    from sagaz.core.outbox.brokers.memory import InMemoryBroker

    return InMemoryBroker()


def _check_redis(url: str) -> None:
    """Refuse what its client would refuse at each connection, as if the server were away."""
    from redis.asyncio import ConnectionPool

    database = urlsplit(url).path.removeprefix("/")
    try:
        if database and not database.isdecimal():
            raise ValueError("what stands after the host is the number of a database")
        pool: Any = ConnectionPool.from_url(url)
        pool.make_connection()
    except Exception as error:
        # What it says may repeat a value; the names of its types do not.
        raise SettingsError(
            f"The broker URL redis://… is refused by its client ({type(error).__name__}). Expected "
            "redis://user:password@host:6379/0, and only parameters that redis-py knows after the ?."
        ) from None


def _split(url: str, wording: Wording, *names: str) -> tuple[str, dict[str, Any]]:
    """Return the client's own URL, and the parameters that are sagaz's."""
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    own: dict[str, Any] = {name: value for name, value in given if name in names}
    if not own:
        return url, own
    if "max_stream_length" in own:
        if not own["max_stream_length"].isdecimal() or int(own["max_stream_length"]) < 1:
            setting = wording.setting("broker_url")
            raise SettingsError(f"{setting}: max_stream_length is a whole number from 1, e.g. 1000000")
        own["max_stream_length"] = int(own["max_stream_length"])
    rest = urlencode([(name, value) for name, value in given if name not in names])
    return urlunsplit(parts._replace(query=rest)), own


async def connect(broker: Any) -> None:
    """Connect a broker that is not connected."""
    rabbitmq = next((kind for kind in type(broker).__mro__ if kind.__name__ == "RabbitMQBroker"), None)
    if rabbitmq is None or type(broker).connect is not vars(rabbitmq)["connect"]:
        await broker.connect()
    else:
        await _connect_rabbitmq(broker)


async def _connect_rabbitmq(broker: Any) -> None:
    # sagaz's connect() writes the password to the log, and makes a connection that reconnects by itself: with the
    # server gone it says that it is open, publishes wait in it without end, and an exchange that the server has lost
    # is never declared again.
    import aio_pika

    config = broker.config
    connection = await aio_pika.connect(config.url, timeout=config.connection_timeout, heartbeat=config.heartbeat)
    broker._connection = connection
    broker._channel = channel = await connection.channel()
    # Without this, aiormq writes every message that no queue takes, with its payload, to the log.
    channel.return_callbacks.add(_unroutable)
    broker._exchange = await channel.declare_exchange(
        config.exchange_name, aio_pika.ExchangeType(config.exchange_type), durable=config.exchange_durable
    )
    broker._connected = True


def _unroutable(channel: Any, message: Any) -> None:
    logger.debug("No queue is bound for %s; RabbitMQ dropped event %s", message.routing_key, message.headers)


def _close(broker: Any) -> Callable[[], Awaitable[None]]:
    # sagaz's close() first closes RabbitMQ's channel, for which a server that hangs is waited for; the connection
    # would then never be closed, and connect() do nothing, as it is taken to be connected.
    if (connection := getattr(broker, "_connection", None)) is not None:
        close: Callable[[], Awaitable[None]] = connection.close
    # Redis' has another name by now, and where warnings are errors the old one closes nothing.
    elif (client := getattr(broker, "_client", None)) is not None and hasattr(client, "aclose"):
        close = client.aclose
    else:
        close = broker.close
    return close


async def disconnect(broker: Any) -> None:
    """Disconnect a broker within a short time, whatever state it is in; it can be connected again."""
    if not getattr(broker, "is_connected", True) and all(getattr(broker, name, None) is None for name in _CLIENT):
        return
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await _close(broker)()
    except Exception as error:
        logger.debug("The broker was not closed properly: %s", type(error).__name__)
    for name in _CLIENT:
        if getattr(broker, name, None) is not None:
            setattr(broker, name, None)
    if getattr(broker, "_connected", False):
        broker._connected = False

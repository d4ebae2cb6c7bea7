"""Handing events to a sagaz broker, with time limits, and telling whose fault it was when it failed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any, Literal

from sagaz_durable._upstream.broker_messages import to_event
from sagaz_durable._upstream.brokers import connect, disconnect
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.events import OutboxRecord

__all__ = ["BrokerAway", "BrokerLine", "BrokerRefused", "Fault", "PublishFailed"]

Fault = Literal["event", "connection", "silence", "broker"]
"""What a failed publication tells.

``event``: this event cannot be published. ``connection``: the connection broke, by whatever went over it.
``silence``: no answer came in time, or the broker would not take it now. ``broker``: it takes nothing now.
"""

_CONNECT_SECONDS = 10.0

_NEVER_LEFT = (ValueError, TypeError, OverflowError, struct.error)
"""What clients raise when they cannot put an event into their protocol; a routing key over 255 bytes, for one."""

# By name: whose client is not installed is not imported. What is not here broke the connection, or may have.
_FAULTS: dict[str, Fault] = {
    "TimeoutError": "silence",
    # RabbitMQ: a queue that is full, or a node that is leaving, takes back what it was given.
    "DeliveryError": "silence",
    # Redis answers and takes nothing: out of memory or disk, a replica, still loading, no right to write.
    "ResponseError": "broker",
    "AuthenticationError": "broker",
    "BusyLoadingError": "broker",
    "MessageSizeTooLargeError": "event",
    "RecordListTooLargeError": "event",
    "InvalidTopicError": "event",
    "KafkaTimeoutError": "silence",
    "UnknownTopicOrPartitionError": "silence",
    "TopicAuthorizationFailedError": "silence",
}


class PublishFailed(Exception):
    """An event was not published, or nobody knows."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class BrokerAway(Exception):
    """There is no connection to be had."""


class BrokerRefused(BrokerAway):
    """The broker, or its client, refuses what is configured: waiting does not help."""


_REFUSALS = frozenset(
    (
        "AuthenticationError",
        "AuthenticationWrongNumberOfArgsError",
        "NoPermissionError",
        "ProbableAuthenticationError",
        "ConnectionNotAllowed",
        "ChannelAccessRefused",
        "ChannelPreconditionFailed",
        "SaslAuthenticationFailed",
        "SSLCertVerificationError",
        "UnicodeError",
        "ValueError",
        "TypeError",
        "FileNotFoundError",
        "PermissionError",
    )
)
"""By name, as above: what is raised because of a user, a password, a right, a certificate or an option."""


class BrokerLine:
    """The connection of one relay to a sagaz broker.

    Attributes:
        publish_seconds: How long the answer to a publication is waited for.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        config = getattr(broker, "config", None)
        self.publish_seconds = float(getattr(config, "publish_timeout_seconds", 10.0))
        limit = float(getattr(config, "connection_timeout_seconds", _CONNECT_SECONDS))
        self._connect_seconds = min(limit, _CONNECT_SECONDS)
        # Whoever connected it before it came here has it in use.
        self.is_open = bool(getattr(broker, "is_connected", False))

    async def open(self) -> None:
        """Connect; harmless when connected.

        Raises:
            BrokerAway: It was not possible in time.
        """
        if self.is_open:
            return
        await disconnect(self._broker)
        try:
            async with asyncio.timeout(self._connect_seconds):
                await connect(self._broker)
        except Exception as error:
            failure = _away(error, f"no answer within {self._connect_seconds:g} s")
        else:
            self.is_open = True
            return
        # Not chained, and outside of the block: a client's frames hold its address.
        await disconnect(self._broker)
        raise failure

    async def close(self) -> None:
        """Disconnect: what is being published fails."""
        self.is_open = False
        await disconnect(self._broker)

    async def publish(self, record: OutboxRecord) -> None:
        """Publish one event.

        Raises:
            PublishFailed: It was not, or it is not known whether it was.
        """
        try:
            async with asyncio.timeout(self.publish_seconds):
                await self._broker.publish_event(to_event(record))
        except Exception as error:
            fault = _fault(error)
            text = _told(error) or f"no answer within {self.publish_seconds:g} s"
            raise PublishFailed(fault, text) from error


def _away(error: BaseException, otherwise: str) -> BrokerAway:
    kinds = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
    away = BrokerAway if _REFUSALS.isdisjoint(kinds) else BrokerRefused
    return away(_told(error) or otherwise)


def _fault(error: BaseException) -> Fault:
    for cause in _causes(error):
        if "Protocol error" in str(cause):
            # Redis' words for a request that is larger than it takes, after which it hangs up. Its client gives the
            # connection to another event all the same, which then fails with the same words.
            return "connection"
        if isinstance(cause, _NEVER_LEFT):
            return "event"
        for kind in type(cause).__mro__:
            if kind.__name__ in _FAULTS:
                return _FAULTS[kind.__name__]
    return "connection"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _told(error: BaseException) -> str | None:
    """Return what went wrong beneath sagaz's own words for it; None when there is nothing to tell."""
    deepest = list(_causes(error))[-1]
    return None if isinstance(error, TimeoutError) else masked_error(deepest)

"""Webhooks: events that are delivered several times, and what they lead to."""

from __future__ import annotations

from sagaz_durable.testing.store_conformance.webhooks.limits import Limits
from sagaz_durable.testing.store_conformance.webhooks.signals import Signalling
from sagaz_durable.testing.store_conformance.webhooks.starts import Starting
from sagaz_durable.testing.store_conformance.webhooks.upkeep import Upkeep

__all__ = ["Webhooks"]


class Webhooks(Starting, Signalling, Limits, Upkeep):
    """An event is recorded together with what it leads to, once, however often it is delivered."""

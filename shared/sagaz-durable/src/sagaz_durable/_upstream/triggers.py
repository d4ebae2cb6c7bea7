"""What methods of a saga class want events: sagaz's triggers, and our own `resumes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sagaz_durable._upstream.unkept import decorated
from sagaz_durable.webhooks.resuming import MARK, Place, Resuming

__all__ = ["Trigger", "listeners"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """What ``@trigger`` was given, by sagaz's names."""

    source: str
    idempotency_key: Place | None
    max_concurrent: int | None
    rate_limit: float | None

    @property
    def is_limited(self) -> bool:
        """Whether runs that it starts may have to wait for others."""
        return self.max_concurrent is not None or self.rate_limit is not None


def listeners(saga_class: type[Any]) -> tuple[tuple[str, Trigger | Resuming], ...]:
    """Return the methods of a class that want events, by their names, and what they declare."""
    key: Any = saga_class
    return _known(key)


@lru_cache(maxsize=1_000)
def _known(saga_class: Any) -> tuple[tuple[str, Trigger | Resuming], ...]:
    # Each attribute is looked at, which takes longer than all else that is done with an event.
    return tuple(_listeners(saga_class))


def _listeners(saga_class: type[Any]) -> Iterator[tuple[str, Trigger | Resuming]]:
    for attribute, method in decorated(saga_class, "_trigger_metadata"):
        given = method._trigger_metadata
        yield attribute, Trigger(given.source, given.idempotency_key, given.max_concurrent, given.rate_limit)
    for attribute, method in decorated(saga_class, MARK):
        yield attribute, getattr(method, MARK)

"""What a run's context holds, read from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sagaz_durable.serialization import codec
from sagaz_integration_core.contract.records import RunRecord, StepRecord

__all__ = ["plain_values_of", "values_of"]


def values_of(record: RunRecord, steps: Iterable[StepRecord], saga_class: type[Any] | None = None) -> dict[str, Any]:
    """Return a run's context as its journal tells it: the input, and what its steps have added so far.

    Args:
        saga_class: As for `codec.decode`.
    """
    values: dict[str, Any] = {}
    for text in _texts(record, steps):
        values.update(codec.decode(text, saga_class))
    return values


def plain_values_of(record: RunRecord, steps: Iterable[StepRecord]) -> dict[str, Any]:
    """Return the same as JSON, for readers that do not ask for types; see `codec.decode_plain`."""
    values: dict[str, Any] = {}
    for text in _texts(record, steps):
        values.update(codec.decode_plain(text))
    return values


def _texts(record: RunRecord, steps: Iterable[StepRecord]) -> Iterator[str]:
    yield record.context
    for step in steps:
        if step.phase == "do" and step.status == "done" and step.result:
            yield step.result

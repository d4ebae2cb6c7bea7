"""What a run's context holds, read from its rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sagaz_durable.serialization import codec
from sagaz_integration_core.contract.records import RunRecord, StepRecord

__all__ = ["values_of"]


def values_of(record: RunRecord, steps: Iterable[StepRecord]) -> dict[str, Any]:
    """Return a run's context as its journal tells it: the input, and what its steps have added so far."""
    values = codec.decode(record.context)
    for step in steps:
        if step.phase == "do" and step.status == "done" and step.result:
            values.update(codec.decode(step.result))
    return values

"""The events of a run, with the topics and payloads of sagaz's ``OutboxSagaListener`` and deterministic ids."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sagaz_integration_core.protocols import EventWrite
from sagaz_integration_core.texts import error_text

__all__ = ["EventLog"]

_NAMESPACE = uuid.UUID("8f4c1a52-6c0b-5f0e-9d3c-2b7a64f1e0aa")


class EventLog:
    """Makes the events that are committed together with the journal entries they tell of.

    Args:
        enabled: Whether there is a broker to publish to; without one, nothing is made.
    """

    def __init__(self, saga_id: str, saga_name: str, correlation_id: str | None, *, enabled: bool) -> None:
        self._saga_id = saga_id
        self._saga_name = saga_name
        self._headers = json.dumps({"correlation_id": correlation_id} if correlation_id else {})
        self._enabled = enabled

    def step_done(self, step: str, result: str | None) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.success``, with the step's result as the journal keeps it."""
        if not self._enabled:
            return ()
        return self._event(f"{step}.success", {"step": step, "result": json.loads(result) if result else {}})

    def step_failed(self, step: str, error: Exception) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.failed``."""
        return self._event(
            f"{step}.failed", {"step": step, "error": error_text(error), "error_type": type(error).__name__}
        )

    def step_undone(self, step: str) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.compensated``."""
        return self._event(f"{step}.compensated", {"step": step, "compensated": True})

    def completed(self) -> tuple[EventWrite, ...]:
        """``<saga>.completed``."""
        return self._event("completed", {"saga_id": self._saga_id, "status": "completed"})

    def failed(self, error: str) -> tuple[EventWrite, ...]:
        """``<saga>.failed``; sagaz says "failed" for every run that did not complete."""
        return self._event("failed", {"saga_id": self._saga_id, "status": "failed", "error": error})

    def _event(self, name: str, payload: dict[str, Any]) -> tuple[EventWrite, ...]:
        if not self._enabled:
            return ()
        event_id = str(uuid.uuid5(_NAMESPACE, f"{self._saga_id}\0{name}"))
        return (EventWrite(event_id, f"{self._saga_name}.{name}", json.dumps(payload), self._headers),)

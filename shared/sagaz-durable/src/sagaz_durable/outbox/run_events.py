"""The events of a run, with the topics and payloads of sagaz's ``OutboxSagaListener`` and deterministic ids."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sagaz_durable.serialization import codec
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.error_text import message_text, type_name

__all__ = ["EventLog"]

_NAMESPACE = uuid.UUID("8f4c1a52-6c0b-5f0e-9d3c-2b7a64f1e0aa")


class EventLog:
    """Makes the events that are committed together with the journal entries they tell of.

    An event's id is made of the run, the attempt and what happened. That is one id for each thing that happened, and
    one thing for each id:

    - Within an attempt each step is called and compensated at most once, and the run ends at most once; of a step that
      its recovery has called again, how often that was is part of the id.
    - An event is in the same commit as the entry that it tells of, and that commit is refused to everybody but the
      owner of this attempt. A process that dies before the commit (while the end of a step waits for the beginning
      of the next one, too) leaves neither, and the next attempt calls the step again and tells of it once. One that
      dies after it leaves both, and the step is not called again.
    - A commit whose answer was lost is sent again under the same attempt, so with the same ids, which the outbox
      takes once.
    - What happens a second time in truth, because a person had the run tried again, happens in a later attempt.

    The store adds when the run was made: one that was pruned may be followed by another one of the same saga_id.

    What the relay publishes twice has one id, by which a consumer drops the second.

    Args:
        attempt: Under which the entries are written.
        enabled: Whether there is a broker to publish to; without one, nothing is made.
        max_bytes: The most that a step's result may measure.
        wording: How the setting that says so is spelled.
    """

    def __init__(
        self,
        saga_id: str,
        saga_name: str,
        correlation_id: str | None,
        attempt: int,
        *,
        enabled: bool,
        max_bytes: int = 1_048_576,
        wording: Wording = NEUTRAL,
    ) -> None:
        self._saga_id = saga_id
        self._saga_name = saga_name
        self._correlation_id = correlation_id
        self._attempt = attempt
        self._enabled = enabled
        self._max_bytes = max_bytes
        self._wording = wording

    def step_done(
        self, step: str, returned: dict[str, Any] | None, saga_class: type[Any] | None = None
    ) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.success``, with what the step returned.

        Args:
            saga_class: As for `codec.encode`.

        Raises:
            ContextValueError: It returned something that is not kept, or cannot be.
        """
        if not self._enabled:
            return ()
        # Also what was in the context before, and is therefore not in the journal.
        text = codec.encode_result(
            returned or {}, max_bytes=self._max_bytes, wording=self._wording, saga_class=saga_class
        )
        return self._event(f"{step}.success", {"step": step, "result": json.loads(text)})

    def step_failed(self, step: str, error: Exception, times: int = 0) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.failed``; ``times`` tells how often its recovery had it called again before."""
        payload = {"step": step, "error": message_text(error), "error_type": type_name(error)}
        return self._event(f"{step}.failed", payload, times)

    def step_undone(self, step: str) -> tuple[EventWrite, ...]:
        """``<saga>.<step>.compensated``."""
        return self._event(f"{step}.compensated", {"step": step, "compensated": True})

    def completed(self) -> tuple[EventWrite, ...]:
        """``<saga>.completed``."""
        return self._event("completed", {"saga_id": self._saga_id, "status": "completed"})

    def failed(self, error: str) -> tuple[EventWrite, ...]:
        """``<saga>.failed``; sagaz says "failed" for every run that did not complete."""
        return self._event("failed", {"saga_id": self._saga_id, "status": "failed", "error": error})

    def _event(self, name: str, payload: dict[str, Any], times: int = 0) -> tuple[EventWrite, ...]:
        if not self._enabled:
            return ()
        headers = _json({"correlation_id": self._correlation_id} if self._correlation_id else {})
        what = f"{name}\0{times}" if times else name
        event_id = str(uuid.uuid5(_NAMESPACE, f"{self._saga_id}\0{self._attempt}\0{what}"))
        return (EventWrite(event_id, f"{self._saga_name}.{name}", _json(payload), headers),)


def _json(value: Any) -> str:
    # No escapes: in a database that is not UTF-8, jsonb refuses those that it has not, and SQL_ASCII has none.
    return json.dumps(value, ensure_ascii=False)

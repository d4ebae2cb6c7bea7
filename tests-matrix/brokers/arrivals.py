"""What must hold of everything that arrived at a broker; every check returns the contradictions that it found."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from brokers.consumers import Message
from sagaz_integration_core.contract.events import OutboxRecord
from sagaz_integration_core.contract.records import RunRecord, StepRecord

__all__ = ["contradictions", "figures", "told"]

# A step in doubt has failed, too, after a call of which nobody knows whether it had its effect.
_WORDS = {
    ("do", "done"): "success",
    ("do", "failed"): "failed",
    ("do", "in_doubt"): "failed",
    ("undo", "done"): "compensated",
}


def told(run: RunRecord, steps: Sequence[StepRecord]) -> list[str]:
    """Return the topics of a run's events in their order, from its journal alone."""
    ended = sorted((step for step in steps if step.finished_at is not None), key=lambda step: str(step.finished_at))
    words = [(step.step, _WORDS.get((step.phase, step.status))) for step in ended]
    topics = [f"{run.saga_name}.{step}.{word}" for step, word in words if word is not None]
    return [*topics, f"{run.saga_name}.{'completed' if run.status == 'completed' else 'failed'}"]


def contradictions(
    runs: Sequence[RunRecord],
    journals: Mapping[str, Sequence[StepRecord]],
    outbox: Sequence[OutboxRecord],
    messages: Sequence[Message],
) -> Iterator[str]:
    """Compare the journals, the outbox and what arrived; events of the application's own are in the last two only."""
    first = {message.event_id: message for message in reversed(messages)}
    order: dict[str, list[str]] = defaultdict(list)
    for event_id in dict.fromkeys(message.event_id for message in messages):
        order[first[event_id].body["saga_id"]].append(first[event_id].body["event_type"])
    for run in runs:
        expected = told(run, journals[run.saga_id])
        if order[run.saga_id] != expected:
            yield f"{run.saga_id} ({run.status}): expected {expected}, arrived {order[run.saga_id]}"
    for event in outbox:
        arrived = first.get(event.event_id)
        if (event.status == "sent") != (arrived is not None):
            yield f"{event.event_id} ({event.topic}) is {event.status}, and has {'' if arrived else 'not '}arrived"
        elif arrived is not None and arrived.body["payload"] != json.loads(event.payload):
            yield f"{event.event_id} arrived with another payload"
    for event_id in first.keys() - {event.event_id for event in outbox}:
        yield f"{event_id} arrived, and nobody has written it"
    for message in messages:
        if message != first[message.event_id]:
            yield f"{message.event_id} was repeated with another content"


def figures(messages: Sequence[Message]) -> dict[str, int]:
    """Return how much arrived, and how much of it repeatedly."""
    counts = Counter(message.event_id for message in messages)
    return {"messages": len(messages), "events": len(counts), "repeats": len(messages) - len(counts)}

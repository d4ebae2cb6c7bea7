"""What a storm must have left of the events that were delivered to it: each taken once, or visible as unclaimed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from sagaz_integration_core.contract.waits import SignalRecord
from sagaz_integration_core.contract.webhooks import RUN_ENDED, WebhookRecord
from storm.clients import Signalled
from storm.storm import Evidence

__all__ = ["WEBHOOK_CHECKS", "moments"]

Call = tuple[str, str, str]
"""A run's saga_id, a step of it, and whether it is its compensation."""

_REPEATABLE = 503
"""The only answer besides 2xx: nothing was recorded, and the sender is to deliver the event again."""


def each_event_was_recorded_once(evidence: Evidence) -> Iterator[str]:
    """An event that was answered has one row, however often it was delivered, and nothing else has one."""
    rows: dict[str, list[WebhookRecord]] = defaultdict(list)
    for row in evidence.webhooks:
        rows[row.delivery_id].append(row)
    for one in _events(evidence):
        its, its_id = rows.pop(one.signal.signal_id, []), one.signal.signal_id
        if one.answered and not its:
            yield f"event {its_id} was answered {len(one.answered)} times, and is lost"
        if its and not one.deliveries:
            yield f"event {its_id} was recorded, and never delivered"
        if len(its) > 1:
            yield f"event {its_id} was recorded {len(its)} times: {[(row.outcome, row.reason) for row in its]}"
    for its_id in rows:
        yield f"event {its_id} was recorded, and nobody has such a one"


def each_event_was_taken_once_or_is_unclaimed(evidence: Evidence) -> Iterator[str]:
    """What the rows say of an event, the ledger says too: one call took it, or none, and it is there to be seen."""
    took, signals = _took(evidence), _signals(evidence)
    sent = {one.signal.signal_id: one for one in _events(evidence)}
    for row in evidence.webhooks:
        its_id = row.delivery_id
        its, calls = signals[its_id], took[its_id]
        told = _untrue_of_refused if row.outcome == "quarantined" else _untrue_of_sent
        for said in told(evidence, row, sent.get(its_id), its, calls):
            yield f"event {its_id}, which is {row.outcome}, {said}"
    recorded = {row.delivery_id for row in evidence.webhooks}
    for its_id in (took.keys() & sent.keys()) - recorded:
        yield f"event {its_id} was taken by {sorted(took[its_id])}, and is not recorded"


def _untrue_of_refused(
    evidence: Evidence, row: WebhookRecord, one: Signalled | None, its: list[SignalRecord], calls: set[Call]
) -> Iterator[str]:
    if row.reason != RUN_ENDED:
        yield f"has no reason to be: {row.reason}"
    if its or calls:
        yield f"left {len(its)} signals, and was taken by {sorted(calls)}"
    known = min(one.answered, default=math.inf) if one else math.inf
    # What a process that has lost its run notes later is that it gave it up.
    later = [line for line in evidence.lines if line.saga_id == row.saga_id and line.at > known]
    if any(line.event == "begin" or line.event.startswith("took ") for line in later):
        yield f"came before the end of {row.saga_id}"


def _untrue_of_sent(
    evidence: Evidence, row: WebhookRecord, one: Signalled | None, its: list[SignalRecord], calls: set[Call]
) -> Iterator[str]:
    if row.outcome not in ("early", "resumed"):
        yield "led to nothing"
        return
    if len(its) != 1:
        yield f"is {len(its)} signals"
        return
    [signal] = its
    noted = {(signal.taken_by, signal.taken_step, signal.taken_phase)} if signal.taken_by else set()
    if noted != calls:
        yield f"was taken by {sorted(calls)}, and its row says: {sorted(noted)}"
    if row.saga_id is not None and signal.taken_by not in (None, row.saga_id):
        yield f"is for {row.saga_id}, and {signal.taken_by} took it"


def repeated_deliveries_were_received_too(evidence: Evidence) -> Iterator[str]:
    """Each delivery that arrived was answered that it was received, or that it was not recorded."""
    for one in _events(evidence):
        for delivery in one.deliveries:
            if not delivery.is_answered and delivery.status not in (None, _REPEATABLE):
                yield f"event {one.signal.signal_id} was answered {delivery.status}"
        repeated = one.signal.is_repeated
        # Each sender twice, and one of them once more when every run had ended.
        planned = one.signal.senders * (1 + repeated) + (repeated and one.signal.due < math.inf)
        if one.deliveries and len(one.answered) != planned:
            yield f"event {one.signal.signal_id} was received {len(one.answered)} times, planned were {planned}"


def events_came_before_while_and_after_their_run_waited(evidence: Evidence) -> Iterator[str]:
    """Nothing is proved of what came at no time."""
    found = moments(evidence)
    for moment in ("before the wait", "during the wait", "after the end"):
        if evidence.plan.waits and not found[moment]:
            yield f"no event came {moment}"


def moments(evidence: Evidence) -> Counter[str]:
    """Count the events that came before the wait that took them, during it, after the end, and whom nobody claims."""
    took, found = _took(evidence), Counter[str]()
    for row in evidence.webhooks:
        if row.outcome == "quarantined":
            found["after the end"] += 1
        elif row.delivery_id not in took:
            found["for nobody"] += 1
        else:
            found["before the wait" if row.outcome == "early" else "during the wait"] += 1
    return found


def _events(evidence: Evidence) -> Iterator[Signalled]:
    return (one for one in evidence.signalled if one.signal.is_webhook)


def _took(evidence: Evidence) -> dict[str, set[Call]]:
    """Return which calls of which runs took which signal, as the ledger has it."""
    found: dict[str, set[Call]] = defaultdict(set)
    for line in evidence.lines:
        if line.event.startswith("took "):
            found[line.event.removeprefix("took ")].add((line.saga_id, *line.call))
    return found


def _signals(evidence: Evidence) -> dict[str, list[SignalRecord]]:
    found: dict[str, list[SignalRecord]] = defaultdict(list)
    for signal in evidence.signals:
        found[signal.signal_id].append(signal)
    return found


WEBHOOK_CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    each_event_was_recorded_once,
    each_event_was_taken_once_or_is_unclaimed,
    repeated_deliveries_were_received_too,
    events_came_before_while_and_after_their_run_waited,
)

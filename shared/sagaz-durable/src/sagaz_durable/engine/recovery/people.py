"""Asking a person: a call waits for a signal of its own, by which somebody decides about it.

It is a signal like any other: sent by the command, the admin, over HTTP, by an approval's token or by code, and noted
in the run's audit with who sent it and why. Its name has the attempt in which it was asked, so that no decision is
taken for a later question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sagaz_durable import ContextLike
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.tagging import untagged
from sagaz_integration_core.contract.statuses import Call
from sagaz_integration_core.contract.waits import DECISIONS, WaitRecord, WaitWrite, decision_signal
from sagaz_integration_core.errors import ContextValueError, InvalidInput

__all__ = ["answer", "asked", "check_decision", "options"]

_ACTIONS: Mapping[str, Mapping[str, str]] = {
    "redo": {
        "retry": "the step is called again",
        "retry_alt": "the same, usually with changes to its context",
        "skip": "the run goes on without it",
        "compensate": "the pivots before it are compensated too",
        "give_up": "the run rolls back to its pivot and ends as failed",
    },
    "undo": {
        "done": "somebody has compensated the step",
        "run": "the compensation is called now",
        "give_up": "the step stays as it is, and the run ends as failed",
    },
}
"""By phase, what a person may decide, and what happens then."""


def options(phase: str) -> tuple[str, ...]:
    """Return what a person may decide about a call."""
    return tuple(_ACTIONS[phase])


def asked(call: Call, attempt: int) -> WaitWrite:
    """Return the wait by which a person is asked about a call."""
    step, phase = call
    return WaitWrite(step, phase, decision_signal(step, phase, attempt), 0)


def answer(call: Call, waits: Iterable[WaitRecord | WaitWrite]) -> dict[str, Any] | None:
    """Return what a person has decided about a call last; None if nobody has, or if it is not understood."""
    said = [
        wait for wait in waits
        if isinstance(wait, WaitRecord) and (wait.step, wait.phase) == call and wait.outcome == "signal"
        and wait.name.startswith(DECISIONS)
    ]  # fmt: skip
    if not said:
        return None
    latest = max(said, key=lambda wait: wait.attempt or 0)
    payload = codec.decode(latest.payload) if latest.payload else {}
    return payload if _mistake(call[1], payload) is None else None


def check_decision(name: str, payload: ContextLike) -> None:
    """Refuse a signal by which a person decides, if it does not say what.

    Raises:
        InvalidInput: Naming what was given and what is expected.
    """
    if not name.startswith(DECISIONS):
        return
    phase = name.removeprefix(DECISIONS).partition(":")[0]
    if phase not in _ACTIONS:
        raise InvalidInput(f"Signals that begin with {DECISIONS!r} are for decisions; use the name that the run shows.")
    if (mistake := _mistake(phase, codec.as_dict(payload, "the signal's payload"))) is not None:
        raise InvalidInput(f"The payload of signal {name!r} {mistake}")


def _mistake(phase: str, payload: Mapping[str, Any]) -> str | None:
    choices = "; ".join(f'{{"action": "{action}"}}: {what}' for action, what in _ACTIONS[phase].items())
    action, changes = payload.get("action"), payload.get("context", {})
    allowed = {"action"} | ({"context"} if phase == "redo" else set())
    if not isinstance(action, str) or action not in _ACTIONS[phase] or not allowed.issuperset(payload):
        with_changes = ', with "context": {…} for changes to the run\'s context' if phase == "redo" else ""
        return f"has to say what is decided{with_changes}. {choices}."
    if not isinstance(changes, dict):
        return 'has a "context" that is no object of keys and values.'
    try:
        codec.check_reserved(changes)
        untagged(changes, None)
    except ContextValueError as error:
        return f"changes the context, and {error}."
    return None

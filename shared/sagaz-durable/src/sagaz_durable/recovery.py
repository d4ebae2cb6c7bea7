"""What was decided about a step that failed behind a pivot, as its journal entries have it.

The step's failure and the beginning of its recovery (the entry of phase ``redo``) are recorded together; so a process
that dies in between leaves both, and the next one calls the handler. What was decided stands in that entry once it is
``done``; while the handler is called again after a further failure, in the one of the step that failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, Protocol, TypeAlias

from sagaz_durable.serialization import codec
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.record import record

__all__ = ["Action", "Recovery", "action_of", "decoded", "encoded"]

Action: TypeAlias = Literal["retry", "retry_alt", "skip", "compensate", "give_up"]
"""The values of sagaz's ``RecoveryAction``, but for that which asks a person; and ``give_up``, which a person may
decide: the run rolls back to its pivot, as if nothing recovered the step."""


class _Entry(Protocol):
    @property
    def status(self) -> str: ...

    @property
    def result(self) -> Any: ...


@record
class Recovery:
    """What was decided about a step so far.

    Attributes:
        times: How often it was called again, since a person decided last.
        changes: What its handler, or a person, has set in the context.
    """

    times: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)


def encoded(action: Action | None, recovery: Recovery, max_bytes: int, wording: Wording, saga_class: type[Any]) -> str:
    """Return a decision as the journal has it; None for one that a person has yet to take.

    Raises:
        ContextValueError: The changes cannot be kept.
    """
    codec.check_reserved(recovery.changes)
    values = {"action": action, "times": recovery.times, "changes": dict(recovery.changes)}
    return codec.encode_result(values, max_bytes=max_bytes, wording=wording, saga_class=saga_class)


def decoded(text: str | None, saga_class: type[Any]) -> Recovery:
    """Return what was decided so far.

    Args:
        saga_class: The saga's, for its enums.

    Raises:
        ContextValueError: What is stored was not written by us.
    """
    if text is None:
        return Recovery()
    values = codec.decode(text, saga_class)
    return Recovery(values["times"], values["changes"])


def action_of(entry: _Entry) -> str | None:
    """Return what an entry of phase ``redo`` says, also one that was changed by others; None as long as it is open."""
    if entry.status != "done" or not entry.result:
        return None
    try:
        values = json.loads(entry.result) if isinstance(entry.result, str) else entry.result
    except ValueError:
        return None
    action = values.get("action") if isinstance(values, dict) else None
    return action if isinstance(action, str) else None

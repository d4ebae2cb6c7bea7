"""The words for how far runs, their steps and their attempts are."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = [
    "ACTIVE",
    "ERASED",
    "FINISHED",
    "AttemptOutcome",
    "Call",
    "Direction",
    "Phase",
    "RunStatus",
    "StepStatus",
    "WebhookOutcome",
]

RunStatus = Literal["pending", "executing", "compensating", "waiting", "completed", "rolled_back", "failed"]
"""Values of sagaz's ``SagaStatus``, and ``waiting``: for a signal or a time. ``failed`` means that manual intervention
is needed."""

StepStatus = Literal["started", "waiting", "done", "failed", "in_doubt"]
"""``waiting``: it was left at a wait, and is called again when that ends. ``in_doubt``: ended without telling whether
its effect took place (a timeout). Both are compensated like ``done``."""

Phase = Literal["do", "redo", "undo"]
"""Which function of a step is called: itself; what decides how it goes on when it has failed behind a pivot
(``@forward_recovery``); or its compensation."""

Call: TypeAlias = tuple[str, Phase]
"""A step, and which of its functions is called."""

Direction = Literal["forward", "back"]
"""Whether a run calls its steps or compensates them; a finished run keeps the one that it had."""

AttemptOutcome = Literal["died", "lost", "released", "halted", "failed", "decided"]
"""How an attempt ended that was neither completed nor rolled back.

- ``died``: its process gave no sign of life any more, and its lease ended;
- ``lost``: its lease ended although its process lived (a locked row, a slow store), which is no failure of the run;
- ``released``: it was given back, as at a shutdown; ``halted``: it was given back and counted as a failure;
- ``failed``: the run ended as failed; ``decided``: a person's decision ended it.
"""

WebhookOutcome = Literal["started", "resumed", "early", "ignored", "quarantined", "delayed"]
"""What became of a webhook's event: it started a run; a run waits for its signal; its signal is kept until one does; no
saga wants it; it needs a person; or its run waits until the limits of its trigger allow that it starts."""

ACTIVE: tuple[RunStatus, ...] = ("pending", "executing", "compensating", "waiting")
FINISHED: tuple[RunStatus, ...] = ("completed", "rolled_back", "failed")

ERASED = "erased:"
"""How the fingerprint of an erased run begins; the status that the run had then follows. All of one of its signals.

The digest of what was erased would tell it to whoever tries all values that it may have had.
"""

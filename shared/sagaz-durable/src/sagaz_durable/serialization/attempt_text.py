"""How an attempt at a run ended, in words; never with a cause that nobody has observed."""

from __future__ import annotations

from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.error_text import visible

__all__ = ["attempt_text"]

_OUTCOMES = {
    "died": "its process gave no sign of life any more",
    "lost": "it lost its lease, though its process was alive",
    "released": "it was given back",
    "halted": "it was stopped",
    "failed": "the run ended as failed",
    "decided": "an operator's decision ended it",
}


def attempt_text(attempt: AttemptRecord) -> str:
    """Render one attempt: who had it, when, how it ended and what was under way."""
    text = f"Attempt {attempt.attempt} by {attempt.owner}, ended {attempt.ended_at:%Y-%m-%d %H:%M:%S} UTC: "
    text += _OUTCOMES[attempt.outcome]
    if attempt.detail:
        text += f" ({attempt.detail})"
    if attempt.under_way:
        text += f"; under way: {attempt.under_way}"
    return visible(text) + "."

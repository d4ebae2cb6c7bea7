"""When a webhook was sent, so that a recorded one cannot be sent again for ever."""

from __future__ import annotations

import re
from datetime import datetime

from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.shown import shown_value
from sagaz_integration_core.errors import SettingsError

__all__ = ["TOLERANCE", "check_fresh", "check_tolerance"]

TOLERANCE = 300.0
"""Seconds by which the sender's clock and the way of a webhook may differ from ours, in both directions."""

_LEAST, _MOST = 1, 86_400

_SECONDS = re.compile(r"[0-9]{1,12}")


def check_fresh(name: str, sent_at: str, now: datetime, tolerance: float) -> None:
    """Refuse what was sent at another time than about now.

    Args:
        name: The header that says when, for messages.
        sent_at: Whole seconds since 1970.

    Raises:
        SignatureRefused: It is no time, or is too far from now.
    """
    if _SECONDS.fullmatch(sent_at) is None:
        raise SignatureRefused(f"{name} has no time in whole seconds since 1970")
    age = now.timestamp() - int(sent_at)
    if abs(age) > tolerance:
        way = "ago" if age > 0 else "in the future"
        raise SignatureRefused(f"{name} is {abs(age):.0f} seconds {way}, and {tolerance:g} are allowed")


def check_tolerance(source: str, tolerance: object) -> None:
    """Refuse a tolerance that is none.

    Raises:
        SettingsError: It is no number of seconds from 1 to 86,400.
    """
    is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not (is_number and _LEAST <= tolerance <= _MOST):  # type: ignore[operator]  # pyright: ignore
        raise SettingsError(
            f"{source}(tolerance={shown_value(tolerance)}): expected seconds from {_LEAST} to {_MOST:,}."
        )

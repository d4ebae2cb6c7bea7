"""Numbers that people give commands: read strictly, and bounded by what a database and a clock can hold."""

from __future__ import annotations

from collections.abc import Mapping

from sagaz_durable.settings.rules import RULES, Number, Rule

__all__ = ["AGE", "command_number"]

AGE = "a number and a unit, as in 90s, 30m, 12h or 30d"
"""How old something has to be, as it is said."""

_NUMBERS: Mapping[str, Rule] = {
    "limit": Number(1, 1_000_000, int, "a whole number"),
    "count": Number(0, 1_000_000_000_000, int, "a whole number"),
    "seconds": Number(0, 1_000_000_000, float, "a number of seconds"),
}
"""How many rows to list, how many of something there may be, and for how long."""


def command_number(name: str) -> Rule:
    """Return how a number is read: one of a command's own, or a setting's."""
    return _NUMBERS.get(name) or RULES[name]

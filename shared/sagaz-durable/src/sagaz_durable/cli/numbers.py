"""Numbers that people give commands: read strictly, and bounded by what a database and a clock can hold."""

from __future__ import annotations

from collections.abc import Mapping

from sagaz_integration_core.settings.rules import RULES, Number, Rule

__all__ = ["COMMAND_NUMBERS"]

COMMAND_NUMBERS: Mapping[str, Rule] = {
    "limit": Number(1, 1_000_000, int, "a whole number"),
    "count": Number(0, 1_000_000_000_000, int, "a whole number"),
    "seconds": Number(0, 1_000_000_000, float, "a number of seconds"),
    "concurrency": RULES["concurrency"],
}
"""How many rows to list, how many of something there may be, for how long, and how many runs to execute at once."""

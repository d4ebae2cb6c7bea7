"""What of a value does not fit its type, and where."""

from __future__ import annotations

from sagaz_durable.serialization.diagnostics import path_of

__all__ = ["Location", "Misfit", "Misfits"]

Location = tuple[str | int, ...]
Misfits = tuple[tuple[Location, str], ...]
"""Places, and what is wrong there; never the value."""


class Misfit(Exception):
    """A value does not fit its type.

    Attributes:
        found: All that does not.
    """

    def __init__(self, found: Misfits) -> None:
        super().__init__()
        self.found = found

    @property
    def path(self) -> str:
        """Where the first one sits."""
        return path_of(*self.found[0][0])

    def __str__(self) -> str:
        told = ((path_of(*place), why) for place, why in self.found)
        return "; ".join(f"{path}: {why}" if path else why for path, why in told)

"""What a command has to say, whatever it does."""

from __future__ import annotations

from sagaz_integration_core.contract.record import record

__all__ = ["Said"]


@record
class Said:
    """What a command prints, and whether everything that was asked for was done."""

    text: str
    done: bool = True

"""Error texts that every database can store, whatever its encoding."""

from __future__ import annotations

from dataclasses import replace

from sagaz_integration_core.contract.records import RunWrite

__all__ = ["with_plain_errors"]


def with_plain_errors(write: RunWrite) -> RunWrite:
    """Return the write with texts that every database stores, as far as they are not the user's own values."""
    steps = tuple(replace(step, error=_plain(step.error)) for step in write.steps)
    return replace(write, steps=steps, error=_plain(write.error))


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()

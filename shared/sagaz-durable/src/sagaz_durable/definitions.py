"""What saga classes declare: whether they have steps."""

from __future__ import annotations

from sagaz_durable._upstream.definitions import has_steps

__all__ = ["has_steps"]

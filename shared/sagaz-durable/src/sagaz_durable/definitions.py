"""What saga classes declare: whether they have steps, and which."""

from __future__ import annotations

from sagaz_durable._upstream.definitions import describe, has_steps

__all__ = ["describe", "has_steps"]

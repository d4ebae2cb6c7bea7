"""Errors that only Django's users meet; the others are `sagaz_integration_core.errors`."""

from __future__ import annotations

from sagaz_integration_core.errors import UsageError

__all__ = ["AtomicBlockError"]


class AtomicBlockError(UsageError):
    """A saga was to run inside ``transaction.atomic()``, where its journal could be rolled back."""

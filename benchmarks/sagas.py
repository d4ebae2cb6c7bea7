"""The saga that all workers run: three steps in a row, two of which can be undone, and none does anything."""

from __future__ import annotations

from typing import Any

from benchmarks.ledger import began, ended
from sagaz_durable import Saga, action, compensate

__all__ = ["NoopSaga", "QuietSaga"]


class NoopSaga(Saga):
    """Tells the ledger when it began and ended."""

    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Note the beginning."""
        began(ctx["n"])
        return {"reservation": 1}

    @compensate("reserve")
    async def release(self, ctx: dict[str, Any]) -> None:
        """Undo nothing."""

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Do nothing."""
        return {"charge": 2}

    @compensate("charge")
    async def refund(self, ctx: dict[str, Any]) -> None:
        """Undo nothing."""

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Note the end."""
        ended(ctx["n"])
        return {"parcel": 3}


class QuietSaga(Saga):
    """Does the same, and tells nobody."""

    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Do nothing."""
        return {"reservation": 1}

    @compensate("reserve")
    async def release(self, ctx: dict[str, Any]) -> None:
        """Undo nothing."""

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Do nothing."""
        return {"charge": 2}

    @compensate("charge")
    async def refund(self, ctx: dict[str, Any]) -> None:
        """Undo nothing."""

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Do nothing."""
        return {"parcel": 3}

"""The sagas that workers run: three steps in a row, two of which can be undone, and none does anything but wait."""

from __future__ import annotations

from typing import Any

from benchmarks.ledger import began, ended
from sagaz_durable import Saga, action, compensate
from sagaz_integration_core.context.current_step import current_step

__all__ = ["NoopSaga", "QuietSaga", "SleepingSaga", "WaitingSaga"]


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


class WaitingSaga(NoopSaga):
    """Waits in its second step for a signal, and tells the ledger when that is there."""

    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Do nothing."""
        return {"reservation": 1}

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Wait, and note the beginning."""
        await current_step().signal("paid", key=str(ctx["n"]))
        began(ctx["n"])
        return {"charge": 2}


class SleepingSaga(QuietSaga):
    """Sleeps in its second step."""

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        """Sleep."""
        await current_step().sleep(60)
        return {"charge": 2}

"""Sagas that recover behind a pivot, and that people compensate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagaz import CompensationType, RecoveryAction, Saga, action, compensate, forward_recovery

if TYPE_CHECKING:
    from contract.sagas import Shop

__all__ = ["by_hand", "pivotal"]

Context = dict[str, Any]


def pivotal(shop: Shop) -> type[Saga]:
    class PivotalSaga(Saga):
        """Its step ``ship`` fails until it has a carrier, and its handler decides what the context says."""

        saga_name = "pivotal"

        @action("reserve")
        async def reserve(self, ctx: Context) -> None:
            shop.note(ctx)

        @compensate("reserve")
        async def release(self, ctx: Context) -> None:
            shop.note(ctx)

        @action("charge", depends_on=["reserve"], pivot=True)
        def charge(self, ctx: Context) -> Context:
            shop.note(ctx)
            return {"charged": True}

        @compensate("charge", compensation_type=CompensationType.SEMANTIC)
        def refund(self, ctx: Context) -> None:
            shop.note(ctx)

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx: Context) -> Context:
            shop.note(ctx)
            if "carrier" not in ctx:
                raise ConnectionError("no carrier")
            return {"shipped_by": ctx["carrier"]}

        @forward_recovery("ship")
        def recover(self, ctx: Context, error: Exception) -> RecoveryAction:
            shop.note(ctx)
            assert isinstance(error, ConnectionError), error
            decides = RecoveryAction(ctx["decides"])
            if decides is RecoveryAction.RETRY_WITH_ALTERNATE:
                ctx["carrier"] = "ox"
            return decides

        @action("notify", depends_on=["ship"])
        async def notify(self, ctx: Context) -> Context:
            shop.note(ctx)
            return {"told": ctx.get("shipped_by", "nobody")}

    return PivotalSaga


def by_hand(shop: Shop) -> type[Saga]:
    class ByHandSaga(Saga):
        """Rolls back, and a person compensates its step ``charge``."""

        saga_name = "by hand"

        @action("reserve")
        async def reserve(self, ctx: Context) -> None:
            shop.note(ctx)

        @compensate("reserve")
        async def release(self, ctx: Context) -> None:
            shop.note(ctx)

        @action("charge", depends_on=["reserve"])
        async def charge(self, ctx: Context) -> None:
            shop.note(ctx)

        @compensate("charge", compensation_type=CompensationType.MANUAL)
        def refund(self, ctx: Context) -> None:
            shop.note(ctx)

        @action("ship", depends_on=["charge"])
        async def ship(self, ctx: Context) -> None:
            raise ConnectionError("no carrier")

    return ByHandSaga

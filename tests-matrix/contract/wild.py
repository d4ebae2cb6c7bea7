"""A saga whose steps, compensations and hooks end as oddly as user code can."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagaz import Saga, action, compensate

if TYPE_CHECKING:
    from contract.sagas import Shop

__all__ = ["wild"]


@dataclass(frozen=True)
class Frozen(Exception):
    """Neither its traceback nor its notes can be set."""

    code: str = "declined"


class Mute(RuntimeError):
    """It has no text."""

    def __str__(self) -> str:
        raise KeyError("no text")


async def _charge_card() -> dict[str, bool]:
    return {"charged": True}


def _lazy() -> Iterator[str]:
    yield "never"


def _raise(error: BaseException) -> Callable[[], Any]:
    def ends() -> Any:
        raise error

    return ends


_ENDS: dict[str | None, Callable[[], Any]] = {
    None: lambda: None,
    "declines": _raise(ValueError("declined")),
    "frozen": _raise(Frozen()),
    "mute": _raise(Mute()),
    "generator exit": _raise(GeneratorExit()),
    "timeout": _raise(TimeoutError("no answer")),
    "exits": lambda: sys.exit(3),
    "forgets to await": _charge_card,
    "makes a task": lambda: asyncio.ensure_future(_charge_card()),
    "cancels itself": lambda: asyncio.current_task().cancel() and None,  # type: ignore[union-attr]
    "list": lambda: [1],
    "generator": _lazy,
    "another type": lambda: {"paid": True},
}


async def _cancelled(ctx: dict[str, Any], step: str, *more: object) -> None:
    if ctx.get("hooks"):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future


def wild(shop: Shop) -> type[Saga]:
    """Return the saga; its context says how ``charge`` (async), ``ship`` (plain) and ``undo reserve`` end."""

    class WildSaga(Saga):
        saga_name = "wild"

        @action("reserve", on_enter=_cancelled, on_success=_cancelled)
        async def reserve(self, ctx: dict[str, Any]) -> None:
            shop.note(ctx)

        @compensate("reserve", on_compensate=_cancelled)
        async def release(self, ctx: dict[str, Any]) -> Any:
            shop.note(ctx)
            return _ENDS[ctx.get("undo reserve")]()

        @action("charge", depends_on=["reserve"], on_enter=_cancelled, on_failure=_cancelled)
        async def charge(self, ctx: dict[str, Any]) -> Any:
            shop.note(ctx)
            return _ENDS[ctx.get("charge")]()

        @compensate("charge")
        async def refund(self, ctx: dict[str, Any]) -> None:
            shop.note(ctx)

        @action("ship", depends_on=["charge"])
        def ship(self, ctx: dict[str, Any]) -> Any:
            shop.note(ctx)
            return _ENDS[ctx.get("ship")]()

        @compensate("ship")
        def recall(self, ctx: dict[str, Any]) -> None:
            shop.note(ctx)

    return WildSaga

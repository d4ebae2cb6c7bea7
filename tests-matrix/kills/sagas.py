"""A saga of four steps that can be held at any point, for whoever wants to kill its process there.

Where a run is held stands in its context (``hold``); whether this process holds at all, in KILLS_HOLD.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

from sagaz import Saga, action, compensate

from sagaz_integration_core.context.current_step import current_step
from support import ledger

__all__ = ["STEPS", "FourSteps"]

Context = dict[str, Any]

STEPS = ("reserve", "charge", "pack", "ship")

LEDGER = Path(os.environ.get("KILLS_LEDGER", "ledger"))

MOMENTS = ("before", "inside", "after")


def is_held(ctx: Context, moment: str) -> bool:
    step = current_step()
    held = "KILLS_HOLD" in os.environ and ctx["hold"] == f"{step.step} {step.phase} {moment}"
    if held:
        ledger.append(LEDGER, "held")
    return held


async def work(ctx: Context) -> Context:
    """An async call: its effect is the pair of lines ``begin`` and ``end``."""
    for moment, event in zip(MOMENTS, ("begin", "end", None), strict=True):
        if is_held(ctx, moment):
            await asyncio.Event().wait()
        if event:
            ledger.append(LEDGER, event)
        await asyncio.sleep(0)
    return _outcome(ctx)


def work_in_thread(ctx: Context) -> Context:
    """The same in a plain function."""
    for moment, event in zip(MOMENTS, ("begin", "end", None), strict=True):
        if is_held(ctx, moment):
            threading.Event().wait()
        if event:
            ledger.append(LEDGER, event)
    return _outcome(ctx)


def _outcome(ctx: Context) -> Context:
    step = current_step()
    if step.phase == "do" and ctx["fails"] and step.step == "ship":
        raise ValueError("no truck")
    return {step.step: "done"}


class FourSteps(Saga):
    """Reserve, charge (plain functions), pack, ship."""

    saga_name = "four"

    @action("reserve")
    async def reserve(self, ctx: Context) -> Context:
        return await work(ctx)

    @compensate("reserve")
    async def release(self, ctx: Context) -> None:
        await work(ctx)

    @action("charge", depends_on=["reserve"])
    def charge(self, ctx: Context) -> Context:
        return work_in_thread(ctx)

    @compensate("charge")
    def refund(self, ctx: Context) -> None:
        work_in_thread(ctx)

    @action("pack", depends_on=["charge"])
    async def pack(self, ctx: Context) -> Context:
        return await work(ctx)

    @compensate("pack")
    async def unpack(self, ctx: Context) -> None:
        await work(ctx)

    @action("ship", depends_on=["pack"])
    async def ship(self, ctx: Context) -> Context:
        return await work(ctx)

    @compensate("ship")
    async def recall(self, ctx: Context) -> None:
        await work(ctx)

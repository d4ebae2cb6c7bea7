"""The saga of the storm: four steps that note their beginning and end in the ledger, and fail or crash as planned."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from sagaz import Saga, action, compensate

from sagaz_durable.webhooks.resuming import resumes
from sagaz_integration_core.context.current_step import current_step
from storm.plan import STEPS
from storm.webhooks import LEDGER, SOURCE
from support import ledger

__all__ = ["KNOWN", "NEXT_STEPS", "OtherSaga", "PlannedError", "StormSaga", "saga_of"]

Context = dict[str, Any]


class PlannedError(Exception):
    """The step was to fail."""


async def do(ctx: Context) -> Context:
    step = current_step().step
    async with _noted():
        await _wait(ctx)
        if ctx.get("poisoned"):
            _crash()
        await asyncio.sleep(ctx["pause"])
        if ctx.get("blocks") == step:
            time.sleep(ctx["block_seconds"])  # noqa: ASYNC251
        if ctx["fails"] == step:
            raise PlannedError(step)
    return {step: "done"}


async def undo(ctx: Context) -> None:
    step = current_step().step
    # A call in doubt has left no result; any other one is there, also in another process.
    assert ctx.get(step, "done") == "done"
    async with _noted():
        await _wait(ctx)
        if step in ctx["crashes"]:
            _crash_once()
        await asyncio.sleep(ctx["pause"])
        if ctx["broken"] == step:
            raise PlannedError(f"undo {step}")


async def _wait(ctx: Context) -> None:
    """Wait for the next signal of the order, if this call is to, and note which one it was given."""
    step = current_step()
    if f"{step.step} {step.phase}" in ctx.get("waits", ()):
        given = await step.signal("go", key=f"order-{ctx['number']}")
        ledger.append(LEDGER, f"took {given['id']}")


class _noted:
    """Notes the beginning and the end of a call, and whether it failed, was given up, or was left at a wait."""

    async def __aenter__(self) -> None:
        ledger.append(LEDGER, "begin")

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        ledger.append(LEDGER, _event(kind))


def _event(kind: type[BaseException] | None) -> str:
    if kind is None:
        return "end"
    if issubclass(kind, asyncio.CancelledError):
        return "cancelled"
    return "failed" if issubclass(kind, Exception) else "left"


def _crash_once() -> None:
    """Kill this process, if no process has died here before."""
    step = current_step()
    marker = LEDGER.with_name(f"crashed-{step.saga_id}-{step.step}")
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    _crash()


def _crash() -> None:
    ledger.append(LEDGER, "suicide")
    os.kill(os.getpid(), signal.SIGKILL)


NEXT_STEPS = ("reserve", "charge", "ship", "label")
"""The steps of the next version: one is gone, and one is new."""


@resumes(SOURCE, signal="go", key="order")
def on_order(self: Saga, event: Context) -> Context | None:
    return _payload(event) if "order" in event else None


@resumes(SOURCE, signal="go", saga_id="run")
def on_run(self: Saga, event: Context) -> Context | None:
    return _payload(event) if "run" in event else None


def _payload(event: Context) -> Context:
    """Take a while to say what an event means, in which its server may be killed."""
    time.sleep(event["pause"])
    return {"id": event["id"]}


def _methods(steps: tuple[str, ...]) -> dict[str, Any]:
    methods: dict[str, Any] = {}
    for index, name in enumerate(steps):

        async def forward(self: Saga, ctx: Context) -> Context:
            return await do(ctx)

        async def backward(self: Saga, ctx: Context) -> None:
            await undo(ctx)

        methods[f"do_{name}"] = action(name, depends_on=list(steps[max(0, index - 1) : index]))(forward)
        methods[f"undo_{name}"] = compensate(name)(backward)
    return methods


def _saga(class_name: str, saga_name: str, **more: Any) -> type[Saga]:
    steps = NEXT_STEPS if os.environ.get("STORM_VERSION") == "next" else STEPS
    methods = {**_methods(steps), **more}
    return type(class_name, (Saga,), {"saga_name": saga_name, "__doc__": "Four steps in a row.", **methods})


StormSaga = _saga("StormSaga", "storm", on_order=on_order, on_run=on_run)
OtherSaga = _saga("OtherSaga", "storm-other")

KNOWN = (StormSaga,) if os.environ.get("STORM_KNOWS_HALF") else (StormSaga, OtherSaga)
"""What this process is to know."""


def saga_of(context: Context) -> type[Saga]:
    """Return the saga that an order is for."""
    return OtherSaga if context.get("other") else StormSaga

"""The application that the tests of servers serve, in processes of their own."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from flask import Flask, request

from flask_sagaz import Saga, SagazExtension, action, compensate


class Served(Saga):
    saga_name = "served"

    @action("async")
    async def in_loop(self, ctx: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(ctx.get("seconds", 0))
        return {"pid": os.getpid()}

    @compensate("async")
    async def undo(self, ctx: dict[str, Any]) -> None: ...

    @action("plain", depends_on=["async"])
    def in_thread(self, ctx: dict[str, Any]) -> None:
        time.sleep(ctx.get("blocked", 0))


app = Flask("served")
sagaz = SagazExtension(app, sagas=[Served], worker="SERVED_WORKER" in os.environ)


@app.get("/up")
def up() -> dict[str, Any]:
    return {"pid": os.getpid()}


@app.post("/inline")
def inline() -> dict[str, Any]:
    run = sagaz.run_sync(sagaz.create_saga(Served), request.get_json())
    return {"saga_id": run.saga_id, "pid": run["pid"]}


@app.post("/awaited")
async def awaited() -> dict[str, Any]:
    run = await sagaz.create_saga(Served).run(request.get_json())
    return {"saga_id": run.saga_id, "pid": run["pid"]}


@app.post("/background")
def background() -> dict[str, Any]:
    return {"saga_id": sagaz.run_background(sagaz.create_saga(Served), request.get_json()), "pid": os.getpid()}


@app.post("/deferred")
def deferred() -> dict[str, Any]:
    return {"saga_id": sagaz.start(Served, request.get_json()), "pid": os.getpid()}

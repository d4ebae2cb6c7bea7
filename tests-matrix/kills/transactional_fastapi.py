"""A FastAPI application whose step and compensation are transactional, and which is killed at one of their statements.

``python -m kills.transactional_fastapi URL AT`` sends it an order; with AT = -1, it only ends what was left.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_sagaz import Saga, SagaFactory, Sagas, action, compensate, create_lifespan, current_step, effect
from kills.transactional import END, Killer

URL, AT = sys.argv[1], int(sys.argv[2])
PATH, _, SOCKET = URL.removeprefix("postgresql:").partition("?host=")
DATABASE = (
    f"sqlite+aiosqlite:{PATH.removeprefix('sqlite:')}" if not SOCKET else f"postgresql+asyncpg:{PATH}?host={SOCKET}"
)
engine = create_async_engine(DATABASE)
killer = Killer(AT)
killer.watch(engine.sync_engine)


class Till(Saga):
    saga_name = "till"

    @action("charge")
    @effect("transactional")
    async def charge(self, ctx: dict[str, Any]) -> dict[str, Any]:
        await current_step().session.execute(sa.text("INSERT INTO charges VALUES ('book')"))
        return {"charged": "book"}

    @compensate("charge")
    @effect("transactional")
    async def refund(self, ctx: dict[str, Any]) -> None:
        await current_step().session.execute(sa.text("INSERT INTO refunds VALUES ('book')"))

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx: dict[str, Any]) -> None:
        raise ValueError("no truck")


app = FastAPI(
    lifespan=create_lifespan(
        {"STORAGE_URL": URL, "MIGRATE": True, "POLL_SECONDS": 0.05},
        sagas=[Till], worker=AT < 0, session_factory=async_sessionmaker(engine),
    )
)  # fmt: skip
saga_factory = SagaFactory()


@app.post("/orders")
async def order(saga: Annotated[Till, Depends(saga_factory(Till))]) -> None:
    try:
        await saga.run({}, END)
    except ValueError as error:
        raise HTTPException(409, str(error)) from None


@app.get("/orders")
async def status(sagas: Annotated[Sagas, Depends()]) -> str:
    return (await sagas.status(END)).run.status


with TestClient(app) as client:
    if AT >= 0:
        client.post("/orders")
        sys.stdout.write(f"{killer.count}\n")
    else:
        end = time.monotonic() + 40
        while client.get("/orders").json() != "rolled_back":
            assert time.monotonic() < end
            time.sleep(0.05)

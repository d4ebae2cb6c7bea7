"""What a client may conclude from the first byte of a response, looked at from the other end of a real socket."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

APP = """
import asyncio
import pathlib
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi_sagaz import Saga, SagaStarter, action, create_lifespan
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

engine = create_async_engine("sqlite+aiosqlite:///{path}")


class OrderSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx): ...


async def get_session(name: str):
    async with AsyncSession(engine) as session:
        yield session
        while "{scope}" == "request" and not pathlib.Path("{path}." + name).exists():
            await asyncio.sleep(0.01)  # The client has not looked yet.
        await session.commit()


app = FastAPI(lifespan=create_lifespan({{"STORAGE_URL": "sqlite:///{path}"}}))


@app.post("/orders/{{name}}")
async def create(
    name: str,
    start: Annotated[SagaStarter, Depends()],
    session: Annotated[AsyncSession, Depends(get_session, scope="{scope}")],
):
    await session.execute(sa.text("INSERT INTO orders VALUES (:name)"), {{"name": name}})
    return {{"saga_id": await start(OrderSaga, {{"name": name}}, session=session)}}
"""


@pytest.fixture
def answers(tmp_path):
    """Serves the application and yields, for each order, what was in the database at the first byte of its answer.

    With the scope "request", the commit waits until the client has looked.
    """
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE orders (name TEXT)")
    database.close()
    processes = []

    def serve(scope):
        (tmp_path / "shop.py").write_text(APP.format(path=path, scope=scope))
        port = _free_port()
        processes.append(_start(tmp_path, port))
        return [_order(port, path, f"order-{n}") for n in range(10)]

    yield serve
    for process in processes:
        process.terminate()
        process.wait(20)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(folder, port):
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return process


def _order(port, path, name):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"POST /orders/{name} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
        first = client.recv(1)
        found = _rows(path, name)
        path.with_name(f"{path.name}.{name}").touch()
        answer = first + b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    assert json.loads(body)["saga_id"]
    return found


def _rows(path, name):
    database = sqlite3.connect(path, timeout=10)
    try:
        [orders] = database.execute("SELECT count(*) FROM orders WHERE name = ?", (name,)).fetchone()
        [runs] = database.execute("SELECT count(*) FROM sagaz_run WHERE context LIKE ?", (f'%"{name}"%',)).fetchone()
    finally:
        database.close()
    return orders, runs


def test_an_acknowledged_order_has_its_row_and_its_run_when_the_session_commits_before_the_response(answers):
    assert set(answers("function")) == {(1, 1)}


def test_without_that_scope_the_acknowledgement_comes_before_the_commit(answers):
    assert set(answers("request")) == {(0, 0)}

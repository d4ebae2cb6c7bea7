"""An application in files of its own, and the real servers and commands that run it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["Process", "Shop"]

SHOP = """
import os, time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi_sagaz import (
    Saga, SagaFactory, SagaStarter, action, compensate, create_lifespan, current_step, get_config, run_saga_background,
)

def note(line):
    with open("ledger.txt", "a") as file:
        file.write(f"{os.getpid()} {line}\\n")

def hold(ctx, step):
    # The test lets a step go on by making the file that its order waits for.
    while ctx.get("hold") == step and not os.path.exists(f"go-{ctx['order']}"):
        time.sleep(0.01)

class OrderSaga(Saga):
    @action("reserve")
    async def reserve(self, ctx):
        note(f"reserve {ctx['order']} {current_step().state.pool}")
        return {}

    @compensate("reserve")
    async def release(self, ctx):
        note(f"release {ctx['order']}")

    @action("charge", depends_on=["reserve"])
    def charge(self, ctx):
        note(f"charge {ctx['order']} {current_step().idempotency_key.rpartition(':')[2]}")
        hold(ctx, "charge")
        if ctx.get("decline"):
            raise ValueError("declined")
        return {}

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        if ctx.get("wait"):
            await current_step().signal("paid", key=f"order-{ctx['order']}")
            await current_step().sleep(timedelta(days=7))
        note(f"ship {ctx['order']}")
        return {}

@asynccontextmanager
async def lifespan(app):
    note("resources")
    yield {"pool": "pool-7"}
    note("no resources")

app = FastAPI(lifespan=create_lifespan(lifespan=lifespan, worker=bool(os.environ.get("EMBEDDED"))))
bare = FastAPI()
saga_factory = SagaFactory()

def make():
    return app

@app.post("/inline")
async def inline(order: dict, saga: Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]):
    return (await saga.run(order)).saga_id

@app.post("/background")
async def background(order: dict, tasks: BackgroundTasks, saga: Annotated[OrderSaga, Depends(saga_factory(OrderSaga))]):
    saga_id = await run_saga_background(tasks, saga, order)
    note(f"accepted {saga_id}")
    if order.get("raise"):
        raise HTTPException(418)
    if order.get("linger"):
        import asyncio
        await asyncio.sleep(0.3)
    return saga_id

@app.post("/later")
async def later(order: dict, start: Annotated[SagaStarter, Depends()]):
    return await start(OrderSaga, order)

@app.get("/orders/{saga_id}")
async def status(saga_id: str, config=Depends(get_config)):
    return await config.storage.load_saga_state(saga_id)
"""


class Process:
    """A process of the shop, whose output and ledger can be waited for."""

    def __init__(self, folder: Path, arguments: list[str], env: dict[str, str]) -> None:
        self.folder = folder
        self.output = folder / f"output-{time.monotonic_ns()}.txt"
        with self.output.open("w") as file:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments], cwd=folder, env={**os.environ, **env}, stdout=file, stderr=file
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._popen.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        return self._popen.wait(seconds)

    def end(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def said(self) -> str:
        return self.output.read_text()

    def says(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        return self._find(pattern, lambda: self.said, seconds)

    def notes(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        ledger = self.folder / "ledger.txt"
        return self._find(pattern, lambda: ledger.read_text() if ledger.exists() else "", seconds)

    def _find(self, pattern: str, read: Callable[[], str], seconds: float) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, read(), re.MULTILINE)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{read()}\n{self.said}"
            time.sleep(0.02)
        return found


class Shop:
    """A folder with the shop's main.py, and the processes that were started in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.processes: list[Process] = []
        (folder / "main.py").write_text(SHOP)
        monkeypatch.setenv("SAGAZ_STORAGE_URL", f"sqlite:///{folder}/sagas.db")
        monkeypatch.setenv("SAGAZ_LEASE_SECONDS", "1")
        monkeypatch.setenv("SAGAZ_RENEW_SECONDS", "0.3")

    def start(self, *arguments: str, **env: str) -> Process:
        process = Process(self.folder, list(arguments), env)
        self.processes.append(process)
        return process

    def command(self, *arguments: str, **env: str) -> Process:
        return self.start("-c", "from fastapi_sagaz.cli import main; main()", *arguments, **env)

    def serve(self, **env: str) -> tuple[Process, str]:
        server = self.start("-m", "uvicorn", "main:app", "--port", "0", **env)
        return server, server.says(r"running on (http://\S+)")[1]

    def go(self, order: object) -> None:
        (self.folder / f"go-{order}").touch()

    def ledger(self) -> list[str]:
        """What was noted, without the process ids."""
        return [line.partition(" ")[2] for line in (self.folder / "ledger.txt").read_text().splitlines()]

    def steps(self, order: object) -> list[str]:
        """What was noted of one order."""
        return [line for line in self.ledger() if line.split()[1:2] == [str(order)]]

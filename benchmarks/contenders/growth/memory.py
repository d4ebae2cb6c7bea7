"""The memory of a process that executes run after run: a worker, and a web process with inline runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI

from benchmarks.contenders.growth._rows import PENDING
from benchmarks.contenders.growth.tables import make_tables
from benchmarks.contenders.worker._engine import QUIET
from benchmarks.harness.model import Figures, Measure, Place
from benchmarks.harness.processes import running
from benchmarks.ledger import Ledger
from benchmarks.sagas import QuietSaga
from fastapi_sagaz import SagaContextMiddleware, SagaFactory, create_lifespan

_factory = SagaFactory()


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure MB after a tenth of the runs, and after all of them."""
    make_tables(place)
    if place.options["of"] == "worker":
        yield lambda size: _worker(place, size)
    else:
        with asyncio.Runner() as runner:
            yield lambda size: runner.run(_web(place, size))


def _worker(place: Place, size: int) -> Figures:
    ledger = Ledger(place.folder / "ledger")
    ledger.clear(size)
    with psycopg.connect(place.postgres, autocommit=True) as connection:
        connection.execute(PENDING, {"saga": "NoopSaga", "first": 0, "last": size})
    command = [sys.executable, "-c", "from fastapi_sagaz.cli import main; main()", "worker"]
    command += ["benchmarks.programs.fastapi_app:app", "--concurrency", "50"]
    environment = {**QUIET, "SAGAZ_STORAGE_URL": place.postgres, **ledger.environment}
    with running(command, place.folder / "worker.log", environment) as process:
        ledger.wait(range(size // 10), 240)
        before = _megabytes(process.pid)
        ledger.wait(range(size), 540)
        return _figures(before, _megabytes(process.pid))


async def _create(saga: Annotated[QuietSaga, Depends(_factory(QuietSaga))]) -> dict[str, str]:
    return {"saga_id": (await saga.run({"order_id": "A1"})).saga_id}


async def _web(place: Place, size: int) -> Figures:

    config = {"STORAGE_URL": place.postgres, "METRICS": False, "LOGGING": False}
    app = FastAPI(lifespan=create_lifespan(config))
    app.add_middleware(SagaContextMiddleware)
    app.add_api_route("/orders", _create, methods=["POST"])
    async with app.router.lifespan_context(app):
        await _requests(app, size // 10)
        before = _megabytes("self")
        await _requests(app, size - size // 10)
        return _figures(before, _megabytes("self"))


async def _requests(app: Any, count: int) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await app(_scope(), _receive, _send)

    await asyncio.gather(*(client() for _ in range(50)))


def _scope() -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/orders", "raw_path": b"/orders", "query_string": b"", "root_path": "", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    if message["type"] == "http.response.start" and message["status"] != 200:
        raise RuntimeError(f"A request was answered with {message['status']}.")


def _megabytes(pid: int | str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024


def _figures(before: float, after: float) -> Figures:
    return {"after a tenth": before, "after all": after}

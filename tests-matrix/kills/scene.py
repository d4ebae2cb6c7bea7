"""Where kills happen: one store, one ledger, a server and perhaps a worker, and clients that wait for answers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FINISHED, RunRecord
from support import ledger
from support.programs import Program, environment, free_port, script
from support.waiting import until, until_true

__all__ = ["Scene", "scene"]

_PACE = {
    "SAGAZ_LEASE_SECONDS": "1.5",
    "SAGAZ_RENEW_SECONDS": "0.3",
    "SAGAZ_POLL_SECONDS": "0.05",
    "SAGAZ_CONCURRENCY": "64",
    "SAGAZ_SYNC_THREADS": "64",
}


class Scene:
    """The programs of one framework on one SQLite file.

    Args:
        app: ``MODULE:APP``; it answers ``GET /up`` and POSTs of a context to /inline, /background and /deferred.
    """

    def __init__(self, folder: Path, app: str) -> None:
        self.ledger_file = folder / "ledger"
        self.url = f"sqlite:///{folder / 'sagaz.db'}"
        port = free_port()
        self._env = environment(SAGAZ_STORAGE_URL=self.url, KILLS_LEDGER=str(self.ledger_file), **_PACE)
        serve = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
        work = [*script("fastapi-sagaz", "fastapi_sagaz.cli:main"), "worker", app]
        self.server = Program(serve, folder / "server.log", self._env)
        self.worker = Program(work, folder / "worker.log", self._env)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self._clients = ThreadPoolExecutor(64)

    def start(self, program: Program, **variables: str) -> None:
        """Start a program; a server answers when this returns."""
        program.env = {**self._env, **variables}
        program.start()
        if program is self.server:
            until_true(self._is_up, "the server answers")

    def _is_up(self) -> bool:
        assert self.server.exitcode is None, self.server.tail()
        try:
            return self.http.get("/up").status_code == 200
        except httpx.TransportError:
            return False

    def send(self, kind: str, contexts: list[dict[str, Any]]) -> list[Future[httpx.Response]]:
        """POST contexts, all at once."""
        return [self._clients.submit(self.http.post, f"/{kind}", json=context) for context in contexts]

    def held(self) -> Counter[str]:
        """How many runs are held, by the point."""
        return Counter(f"{line.step} {line.phase}" for line in self.lines() if line.event == "held")

    def lines(self) -> list[ledger.Line]:
        return ledger.read(self.ledger_file)

    async def all_ended(self, count: int) -> list[RunRecord]:
        """Wait until there are so many runs, and all have a final status."""
        store = create_store(Settings(storage_url=self.url))
        await store.open()

        async def runs() -> list[RunRecord]:
            found = await store.find(RunFilter(limit=1_000))
            return found if len(found) == count and all(run.status in FINISHED for run in found) else []

        try:
            return await until(runs, f"{count} runs have a final status", 40)
        finally:
            await store.close()

    def close(self) -> None:
        self.server.close()
        self.worker.close()
        self._clients.shutdown()
        self.http.close()


@contextmanager
def scene(folder: Path, app: str) -> Iterator[Scene]:
    """A scene, of which nothing is left afterwards."""
    made = Scene(folder, app)
    try:
        yield made
    finally:
        made.close()

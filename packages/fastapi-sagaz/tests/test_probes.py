"""What probes ask: a health route's readiness, a worker's heartbeat file, and the thresholds of check."""

import signal
import threading
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from fastapi_sagaz import ProbeResult, RuntimeNotOpen, Saga, SagaFactory, action, create_lifespan, readiness


@pytest.fixture
def gate():
    """What a step waits for; opened at the end, whatever the test has come to."""
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_process_whose_threads_do_not_come_back_is_not_ready_and_takes_no_more_runs_until_they_do(
    gate, serve, storage_url, until
):
    class Hanging(Saga):
        saga_name = "hanging"

        @action("hang", timeout_seconds=0.1, max_retries=0)
        def hang(self, ctx):
            gate.wait(60)

    app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": storage_url, "SYNC_THREADS": 1}))

    @app.post("/")
    async def run(saga: Annotated[Hanging, Depends(SagaFactory()(Hanging))]):
        await saga.run({})

    @app.get("/ready")
    async def ready(found: Annotated[ProbeResult, Depends(readiness)]):
        if not found:
            raise HTTPException(503, found.problem)

    async def is_ready():
        return (await client.get("/ready")).status_code == 200

    async with serve(app) as client:
        for _ in range(2):
            assert await is_ready()
            with pytest.raises(TimeoutError):
                await client.post("/")
        answer = await client.get("/ready")
        assert (answer.status_code, "step 'hang' of run" in answer.json()["detail"]) == (503, True)
        with pytest.raises(RuntimeNotOpen, match="This process takes no new runs"):
            await client.post("/")
        gate.set()
        await until(is_ready)


def test_a_worker_writes_its_heartbeat_file_while_it_works_and_removes_it(shop):
    server, url = shop.serve()
    httpx.post(f"{url}/later", json={"order": 1, "hold": "charge"})
    server.kill(signal.SIGTERM)
    server.wait()
    worker = shop.command("worker", "main:app", "--heartbeat-file", "beat")
    worker.notes("charge 1")
    assert (shop.folder / "beat").read_text() == "ready\n"
    shop.go(1)
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 0
    assert list(shop.folder.glob("beat*")) == []


def test_a_heartbeat_file_that_cannot_be_written_is_an_error(shop):
    worker = shop.command("worker", "main:app", "--heartbeat-file", "none/beat")
    assert (worker.wait(), "it cannot be written" in worker.said) == (1, True)

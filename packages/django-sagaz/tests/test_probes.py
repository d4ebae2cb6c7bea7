"""What probes ask: a health view's readiness, a worker's heartbeat file, and the thresholds of sagaz_check."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from places import on, until

from django_sagaz import (
    RunInterrupted,
    RuntimeNotOpen,
    Saga,
    action,
    async_saga_factory,
    atomic_saga_start,
    close,
    liveness,
    publish,
    readiness,
    run_saga,
)
from django_sagaz.models import OutboxEvent, Run, Step, WorkerProcess


@pytest.fixture
def gate():
    """What a step waits for; opened at the end, whatever the test has come to."""
    Hanging.gate = Blocking.gate = threading.Event()
    yield Hanging.gate
    Hanging.gate.set()


class Hanging(Saga):
    saga_name = "hanging"

    @action("hang", timeout_seconds=0.1, max_retries=0)
    def hang(self, ctx):
        self.gate.wait(60)


class Blocking(Saga):
    saga_name = "blocking"

    @action("block", timeout_seconds=0.1)
    async def block(self, ctx):
        self.gate.wait(60)


class Reading(Saga):
    saga_name = "reading"

    @action("read")
    def read(self, ctx):
        return {"beat": Path(ctx["path"]).read_text()}


async def run(saga_class):
    """Run a saga as asynchronous views do."""
    saga = await async_saga_factory(saga_class)
    return await saga.run({})


@on()
def test_a_process_whose_threads_do_not_come_back_is_not_ready_and_takes_no_more_runs_until_they_do(
    home, settings, gate
):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 1}
    for _ in range(2):
        assert readiness()
        with pytest.raises(TimeoutError):
            asyncio.run(run(Hanging))
    assert "step 'hang' of run" in readiness().problem
    with pytest.raises(RuntimeNotOpen, match="This process takes no new runs"):
        asyncio.run(run(Hanging))
    gate.set()
    until(readiness)
    close()


@on()
@pytest.mark.parametrize("how", ["synchronous", "asynchronous"])
def test_a_process_whose_event_loop_is_blocked_for_too_long_is_not_ready_until_it_turns_again(
    home, settings, gate, how
):
    settings.SAGAZ = {**settings.SAGAZ, "LEASE_SECONDS": 1, "RENEW_SECONDS": 0.2}
    assert readiness()
    ended = []

    def serve():
        try:
            run_saga(Blocking, {}) if how == "synchronous" else asyncio.run(run(Blocking))
        except RunInterrupted as error:
            ended.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until(lambda: "has blocked the event loop" in (readiness().problem or ""))
        assert "step 'block' of saga 'blocking'" in readiness().problem
        assert how == "synchronous" or "has stood still" in liveness().problem
        until(lambda: not Run.objects.using(home).exclude(lease_owner=None).exists())
    finally:
        gate.set()
        thread.join()
    assert len(ended) == 1
    until(readiness)
    close()


@on()
def test_a_worker_writes_its_heartbeat_file_while_it_works_and_removes_it(home, tmp_path):
    beat = tmp_path / "beat"
    with transaction.atomic(home):
        saga_id = atomic_saga_start(Reading, {"path": str(beat)})
    call_command("sagaz_worker", drain=True, heartbeat_file=str(beat), verbosity=0)
    assert Step.objects.using(home).get(saga_id=saga_id).result == {"beat": "ready\n"}
    assert list(tmp_path.glob("beat*")) == []
    with pytest.raises(CommandError, match="it cannot be written"):
        call_command("sagaz_worker", drain=True, heartbeat_file=str(tmp_path / "none" / "beat"), verbosity=0)


@on()
def test_check_has_thresholds_for_events_and_for_sagas_that_nobody_knows(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://"}
    with transaction.atomic(home):
        publish("orders.placed", {}, key="sent later")
        publish("orders.placed", {}, key="set aside")
    [_, dead] = OutboxEvent.objects.using(home).order_by("id")
    OutboxEvent.objects.using(home).filter(pk=dead.pk).update(status="dead")
    assert "1 events were set aside" in checked()
    assert "none" in checked("--max-dead", "1")
    assert "at most 0 s is right" in checked("--max-dead", "1", "--max-event-age", "0")
    with transaction.atomic(home):
        atomic_saga_start(Reading, {})
    another = {"kind": "worker", "sagas": ["another"], "alive_until": "2999-01-01T00:00:00Z"}
    WorkerProcess.objects.using(home).create(name="w1", **another)
    assert "No live worker knows the saga of runs that are due: 1 of 'reading'" in checked("--max-dead", "1")
    assert "none" in checked("--max-dead", "1", "--max-unknown", "1")


def checked(*options):
    """Return what sagaz_check tells of problems, and see that its exit code says the same."""
    out, code = io.StringIO(), 0
    try:
        call_command("sagaz_check", *options, stdout=out)
    except SystemExit as end:
        code = end.code
    problem = out.getvalue().partition("problem ")[2].strip()
    assert code == (problem != "none")
    return problem

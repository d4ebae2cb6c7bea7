"""The command, as a process of its own, on an SQLite file."""

import asyncio
import json
import os
import pty
import signal
import sys

import pytest

from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.events import NewEvent


def start_later(shop, *orders):
    """Have runs recorded by a server that executes nothing."""
    import httpx

    server, url = shop.serve()
    ids = [httpx.post(f"{url}/later", json=order).json() for order in orders]
    server.kill(signal.SIGTERM)
    server.wait()
    return ids


# worker.


def test_drain_executes_what_is_due_and_exits(shop):
    start_later(shop, {"order": 1}, {"order": 2, "decline": True})
    worker = shop.command("worker", "main:app", "--drain")
    assert worker.wait() == 0
    assert "Done: 1 completed, 1 rolled_back." in worker.said
    assert "\r" not in worker.said
    assert shop.steps(2) == ["reserve 2 pool-7", "charge 2 charge", "release 2"]


def test_steps_find_the_resources_of_the_lifespan_which_are_taken_down_at_the_end(shop):
    start_later(shop, {"order": 1})
    (shop.folder / "ledger.txt").unlink()
    assert shop.command("worker", "main:app", "--drain").wait() == 0
    assert shop.ledger() == ["resources", "reserve 1 pool-7", "charge 1 charge", "ship 1", "no resources"]


def test_the_applications_own_embedded_worker_does_not_start_beside_the_commands(shop):
    start_later(shop, *({"order": n, "hold": "charge"} for n in range(4)))
    worker = shop.command("worker", "main:app", "--concurrency", "2", EMBEDDED="1")
    worker.notes(r"charge \d charge[\s\S]*charge \d charge")
    held = [line for line in shop.ledger() if line.startswith("charge")]
    for n in range(4):
        shop.go(n)
    worker.notes(r"(ship \d[\s\S]*){4}")
    assert len(held) == 2


def test_sigterm_lets_running_sagas_end_and_exits_with_0(shop):
    start_later(shop, {"order": 1, "hold": "charge"}, {"order": 2})
    worker = shop.command("worker", "main:app", "--concurrency", "1")
    worker.notes("charge 1")
    worker.kill(signal.SIGTERM)
    worker.says("Stopping: 1 runs may end within 5 s. Once more stops at once.")
    shop.go(1)
    assert worker.wait() == 0
    assert "Done: 1 completed." in worker.said
    assert shop.ledger()[-2:] == ["ship 1", "no resources"]
    assert shop.steps(2) == []


def test_what_does_not_end_in_time_is_given_back_and_resumed_without_waiting_for_the_lease(shop):
    start_later(shop, {"order": 1, "hold": "charge"})
    worker = shop.command("worker", "main:app", SAGAZ_DRAIN_SECONDS="0.2", SAGAZ_LEASE_SECONDS="60")
    worker.notes("charge 1")
    worker.kill(signal.SIGINT)
    assert worker.wait() == 0
    assert "Done: 1 given back." in worker.said
    shop.go(1)
    second = shop.command("worker", "main:app", "--drain", SAGAZ_LEASE_SECONDS="60")
    assert second.wait() == 0
    assert "Done: 1 completed." in second.said
    assert shop.steps(1) == ["reserve 1 pool-7", "charge 1 charge", "charge 1 charge", "ship 1"]


@pytest.mark.parametrize(("first", "second", "code"), [("SIGTERM", "SIGTERM", 143), ("SIGTERM", "SIGINT", 130)])
def test_a_second_signal_stops_at_once(shop, first, second, code):
    start_later(shop, {"order": 1, "hold": "charge"})
    worker = shop.command("worker", "main:app", SAGAZ_DRAIN_SECONDS="60")
    worker.notes("charge 1")
    worker.kill(getattr(signal, first))
    worker.says("Once more stops at once")
    worker.kill(getattr(signal, second))
    assert worker.wait(5) == code
    shop.go(1)
    again = shop.command("worker", "main:app")
    again.notes("ship 1")
    again.kill(signal.SIGTERM)
    assert again.wait() == 0


def test_a_killed_worker_is_replaced_by_another_one_which_repeats_only_the_step_in_doubt(shop):
    start_later(shop, {"order": 1, "hold": "charge"})
    first = shop.command("worker", "main:app")
    first.notes("charge 1")
    first.kill()
    first.wait()
    shop.go(1)
    second = shop.command("worker", "main:app")
    second.notes("ship 1")
    assert shop.steps(1) == ["reserve 1 pool-7", "charge 1 charge", "charge 1 charge", "ship 1"]


def test_a_terminal_is_shown_the_progress(shop):
    start_later(shop, {"order": 1}, {"order": 2})
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.folder)
        code = "from fastapi_sagaz.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", code, "worker", "main:app", "--drain"])
    output = b""
    while True:
        try:
            chunk = os.read(terminal, 10_000)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"\rno runs, 2 running" in output
    assert b"\r2 completed, 0 running" in output
    assert b"Done: 2 completed." in output


def test_a_worker_on_memory_is_refused(shop):
    worker = shop.command("worker", "main:app", SAGAZ_STORAGE_URL="memory://")
    assert worker.wait() == 1
    assert "Error: Runs are kept in memory" in worker.said
    assert "create_lifespan(worker=True)" in worker.said


def test_a_worker_logs_runs_with_their_ids(shop):
    [saga_id] = start_later(shop, {"order": 1})
    worker = shop.command("worker", "main:app", "--drain")
    assert worker.wait() == 0
    assert f"{saga_id}] Saga 'OrderSaga', run {saga_id}: completed" in worker.said


# list, check and migrate.


def test_list_shows_sagas_and_steps(shop):
    command = shop.command("list", "main:app")
    assert command.wait() == 0
    assert command.said == (
        "OrderSaga  (main.OrderSaga)\n"
        "  reserve  compensated\n"
        "  charge   after reserve\n"
        "  ship     after charge\n"
        "  (no effect declared: reserve, charge, ship, undo of reserve)\n"
    )  # fmt: skip


def test_list_as_json(shop):
    command = shop.command("list", "main:make", "--factory", "--format", "json")
    assert command.wait() == 0
    [saga] = json.loads(command.said)
    assert (saga["name"], saga["path"]) == ("OrderSaga", "main.OrderSaga")
    assert saga["steps"][1] == {
        "name": "charge", "depends_on": ["reserve"], "compensated": False, "pivot": False, "effect": None,
        "undo_effect": None, "recovered": False, "manual": False,
    }  # fmt: skip


def test_check_counts_and_enters_none_of_the_applications_resources(shop):
    start_later(shop, {"order": 1}, {"order": 2})
    (shop.folder / "ledger.txt").unlink()
    command = shop.command("check", "main:app", "--format", "json")
    assert command.wait() == 0
    found = json.loads(command.said)
    assert (found["healthy"], found["reachable"], found["migrated"]) == (True, True, True)
    assert (found["stats"]["counts"]["pending"], found["stats"]["due"], found["stats"]["live_workers"]) == (2, 2, 0)
    assert not (shop.folder / "ledger.txt").exists()
    text = shop.command("check", "main:app")
    assert text.wait() == 0
    assert "due        2, the oldest for" in text.said


def test_check_fails_when_the_store_cannot_be_reached(shop):
    url = f"sqlite:///{shop.folder}/no/such/folder/sagas.db"
    command = shop.command("check", "main:app", "--format", "json", SAGAZ_STORAGE_URL=url)
    assert command.wait() == 1
    found = json.loads(command.said)
    assert (found["healthy"], found["reachable"], found["stats"]) == (False, False, None)


def test_check_sees_a_live_worker(shop):
    worker = shop.command("worker", "main:app")
    worker.says("Working on sqlite: OrderSaga. Ctrl.C stops.")
    deadline = 50
    while deadline:
        command = shop.command("check", "main:app", "--format", "json")
        assert command.wait() == 0
        if json.loads(command.said)["stats"]["live_workers"] == 1:
            break
        deadline -= 1
    assert deadline


def test_migrate_has_nothing_to_do_on_sqlite(shop):
    command = shop.command("migrate", "main:app")
    assert command.wait() == 0
    assert command.said == "Nothing to migrate: the sqlite store makes its own tables.\n"
    assert not (shop.folder / "ledger.txt").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("main", "'main' names no application; expected MODULE:APP"),
        ("nain:app", "There is no module 'nain' here"),
        ("main:ap", "has no 'ap'"),
        ("main:SHOP_", "has no 'SHOP_'"),
        ("main:bare", "its lifespan comes to no create_lifespan"),
        ("main:os", "is the module 'os', and no ASGI application"),
    ],
)
def test_a_wrong_target_is_one_clear_error(shop, target, message):
    command = shop.command("list", target)
    assert command.wait() == 1
    assert message in command.said
    assert "Traceback" not in command.said


def test_a_wrong_setting_is_one_clear_error(shop):
    command = shop.command("worker", "main:app", SAGAZ_CONCURENCY="3")
    assert command.wait() == 1
    assert command.said.startswith("Error: SAGAZ_CONCURENCY: no such setting; did you mean SAGAZ_CONCURRENCY?")


def test_an_error_of_the_application_itself_is_not_hidden(shop):
    (shop.folder / "main.py").write_text("import nothing_of_that_name")
    command = shop.command("list", "main:app")
    assert command.wait() == 1
    assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in command.said


# The operators' commands.


def test_operators_cancel_show_and_prune_runs(shop):
    [saga_id] = start_later(shop, {"order": 1})
    cancel = shop.command("cancel", "main:app", saga_id, "--by", "ann", "--reason", "mistake")
    assert (cancel.wait(), f"ok       {saga_id}" in cancel.said) == (0, True)
    assert shop.command("worker", "main:app", "--drain").wait() == 0
    show = shop.command("show", "main:app", saga_id, "--format", "json")
    assert show.wait() == 0
    shown = json.loads(show.said)
    assert (shown["status"], shown["error"]) == ("rolled_back", "cancelled by ann: mistake")
    assert shop.steps(1) == []
    assert shop.command("retry", "main:make", "--factory", saga_id).wait() == 1
    erase = shop.command("prune", "main:app", "--contexts", saga_id, "--reason", "ticket 7")
    assert (erase.wait(), f"ok       {saga_id}  Erased" in erase.said) == (0, True)
    prune = shop.command("prune", "main:app", "--older-than", "0s")
    assert (prune.wait(), "Deleted 1 runs" in prune.said) == (0, True)


def test_operators_see_what_runs_wait_for_and_signal_them(shop):
    def said(word, *words):
        command = shop.command(word, "main:app", *words)
        assert command.wait() == 0
        return command.said

    [saga_id] = start_later(shop, {"order": 1, "wait": True})
    said("worker", "--drain")
    assert f"waiting       {saga_id}  OrderSaga: ship waits for signal 'paid'\n" in said("list", "--runs")
    assert "  ship waits for signal 'paid', key order-1, since " in said("show", saga_id)
    assert "1 waiting" in said("check")
    renamed = (shop.folder / "main.py").read_text().replace('@action("ship"', '@action("deliver"')
    (shop.folder / "renamed.py").write_text(renamed)
    lost = shop.command("check", "renamed:app")
    assert (lost.wait(), "1 in 'ship' of 'OrderSaga'" in lost.said) == (1, True)
    assert shop.command("check", "renamed:app", "--max-lost-waits", "1").wait() == 0
    assert "Sent." in said("signal", "paid", "--run", saga_id, "--by", "ann", "--reason", "called")
    [signal] = json.loads(said("list", "--signals", "--format", "json"))
    assert (signal["saga_id"], "payload" in signal) == (saga_id, False)
    said("worker", "--drain")
    [listed] = json.loads(said("list", "--runs", "--format", "json"))
    assert [(wait["name"], wait["until"] is None) for wait in listed["waits"]] == [("", False)]
    assert f"ok       {saga_id}  Its sleep is over now.\n" in said("run-now", saga_id)
    said("worker", "--drain")
    report = json.loads(said("show", saga_id, "--format", "json"))
    assert (report["status"], report["audit"][0]["reason"]) == ("completed", "called")


def test_events_are_listed_and_those_that_were_set_aside_are_retried(shop):
    listed = shop.command("events", "main:app", "--format", "json")
    assert (listed.wait(), json.loads(listed.said)) == (0, [])
    refused = shop.command("events", "main:app", "--retry", "no-such-event")
    assert (refused.wait(), "refused: no event with this id is set aside" in refused.said) == (1, True)
    assert shop.command("events", "main:make", "--factory", "--retry", "--all", "--dry-run").wait() == 0


def test_payloads_of_events_are_masked_as_the_setting_says(shop):
    async def publish():
        store = create_store(Settings.from_env())
        await store.open()
        payload = json.dumps({"customer_name": "Ann", "password": "hunter2", "n": 1})
        await store.insert_events([NewEvent("a", "key", "orders.placed", payload)])
        await store.close()

    asyncio.run(publish())
    words = ["events", "main:app", "--payload", "--format", "json"]
    listed = shop.command(*words, SAGAZ_REDACT_KEYS="customer_*")
    assert listed.wait() == 0
    [row] = json.loads(listed.said)
    assert row["payload"] == {"customer_name": "***", "password": "***", "n": 1}


def test_check_has_thresholds_for_probes(shop):
    start_later(shop, {"order": 1})
    assert shop.command("check", "main:app", "--max-age", "3600", "--max-failed", "0").wait() == 0
    told = shop.command("check", "main:app", "--max-age", "0")
    assert (told.wait(), "at most 0 s was asked for" in told.said) == (1, True)


HANGING = """
import time
from typing import Annotated
from fastapi import Depends, FastAPI
from fastapi_sagaz import Saga, SagaFactory, SagaStarter, action, create_lifespan

class HangingSaga(Saga):
    @action("hang", timeout_seconds=0.3)
    def hang(self, ctx):
        print("hanging", flush=True)
        time.sleep(600)

app = FastAPI(lifespan=create_lifespan())

@app.post("/hang")
async def hang(
    start: Annotated[SagaStarter, Depends()], saga: Annotated[HangingSaga, Depends(SagaFactory()(HangingSaga))]
):
    return await start(HangingSaga, {})
"""


def test_threads_of_plain_steps_that_never_return_are_replaced_until_the_worker_exits_with_1(shop):
    import httpx

    (shop.folder / "main.py").write_text(HANGING)
    server, url = shop.serve()
    for _ in range(3):
        httpx.post(f"{url}/hang").raise_for_status()
    server.kill(signal.SIGTERM)
    server.wait()
    # All three have a thread at the end, although there are two, and both are lost.
    worker = shop.command("worker", "main:app", SAGAZ_SYNC_THREADS="2", SAGAZ_CONCURRENCY="2")
    assert worker.wait(60) == 1
    said = worker.said
    assert said.count("hanging") == 3
    assert said.count("'hang' of run") >= 3
    assert "has outlived its time limit of 0.3 s" in said
    for end in ("is replaced (1 of at most 2)", "is replaced (2 of at most 2)", "is not replaced any more"):
        assert end in said
    assert "This worker has stopped, so that another one takes its place: 3 `def` steps have outlived" in said

"""``flask sagaz``: a worker, and what people and probes ask of an application's sagas."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

import click
import pytest
from flask import Flask

from flask_sagaz import Saga, SagazExtension, action, current_sagaz, current_step
from sagaz_durable.problem_types import UNAVAILABLE
from sagaz_integration_core.contract.events import EventOutcome
from support.programs import Program, environment

HERE = Path(__file__).parent


@pytest.fixture
def run():
    """Runs a command inside this process."""

    def run(app, *words):
        return app.test_cli_runner().invoke(args=["sagaz", *words])

    return run


def test_list_shows_sagas_and_steps(make_app, run, OrderSaga):
    app, _ = make_app(sagas=[OrderSaga])
    text = run(app, "list").output.splitlines()
    assert text[0].startswith("order  (")
    assert [line.split() for line in text[1:3]] == [["reserve", "compensated"], ["charge", "after", "reserve"]]
    assert text[3:] == ["  (no effect declared: reserve, charge, undo of reserve)"]
    [saga] = json.loads(run(app, "list", "--format", "json").output)
    assert (saga["name"], [step["name"] for step in saga["steps"]]) == ("order", ["reserve", "charge"])


def test_list_without_sagas_says_where_they_go(make_app, run):
    app, _ = make_app()
    assert run(app, "list").output == "No saga is registered. Add the classes to SagazExtension(sagas=[…]).\n"


def test_check_tells_how_the_store_is(make_app, run, tmp_path, OrderSaga):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    with app.app_context():
        sagaz.start(OrderSaga, {"order_id": 1})
    told = run(app, "check", "--format", "json")
    health = json.loads(told.output)
    assert (told.exit_code, health["healthy"], health["stats"]["counts"]["pending"]) == (0, True, 1)
    assert "1 pending" in run(app, "check").output


def test_check_of_a_store_that_cannot_be_reached_exits_with_1(make_app, run, tmp_path):
    app, _ = make_app(f"sqlite:///{tmp_path / 'missing' / 'sagaz.db'}")
    told = run(app, "check")
    assert told.exit_code == 1
    assert "reachable  no" in told.output
    assert told.output.endswith(f"\nSee {UNAVAILABLE.address}\n")
    health = json.loads(run(app, "check", "--format", "json").output)
    assert [finding["type"] for finding in health["findings"]] == [UNAVAILABLE.address]
    assert health["problem"] == health["findings"][0]["detail"]


def test_migrate_has_nothing_to_do_on_a_file(make_app, run, tmp_path):
    app, _ = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}")
    assert run(app, "migrate").output == "Nothing to migrate: the sqlite store makes its own tables.\n"


def test_an_application_without_extension_is_told_how_to_get_one(run):
    from flask_sagaz.cli import sagaz_group

    app = Flask("bare")
    app.cli.add_command(sagaz_group)
    told = run(app, "list")
    assert (told.exit_code, "has no SagazExtension" in told.output) == (1, True)


def test_a_worker_refuses_memory_and_an_empty_list_of_sagas(make_app, run, tmp_path, OrderSaga):
    app, _ = make_app(sagas=[OrderSaga])
    told = run(app, "worker", "--drain")
    assert told.exit_code == 1
    assert "SagazExtension(worker=True)" in told.output
    app, _ = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}")
    told = run(app, "worker", "--drain")
    assert told.exit_code == 1
    assert "Add the classes to SagazExtension(sagas=[…])" in told.output


def test_a_worker_that_drains_executes_what_is_due_and_exits(make_app, run, tmp_path, OrderSaga, record_of):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with app.app_context():
        ids = [sagaz.start(OrderSaga, {"order_id": n}) for n in range(5)]
    told = run(app, "worker", "--drain", "--concurrency", "2")
    assert (told.exit_code, told.output.splitlines()) == (0, ["Working on sqlite: order.", "Done: 5 completed."])
    assert {record_of(app, saga_id).status for saga_id in ids} == {"completed"}
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_steps_in_a_worker_start_further_sagas_through_the_workers_own_runtime(make_app, run, tmp_path, OrderSaga):
    class Outer(Saga):
        saga_name = "outer"

        @action("more")
        def more(self, ctx):
            current_sagaz.start(OrderSaga, {"order_id": 1})
            current_sagaz.run_sync(current_sagaz.create_saga(OrderSaga), {"order_id": 2})

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[Outer, OrderSaga])
    with app.app_context():
        sagaz.start(Outer, {})
        sagaz.close()
    assert "Done: 2 completed." in run(app, "worker", "--drain").output


def test_a_worker_whose_plain_steps_never_return_exits_with_1(make_app, run, tmp_path):
    gate = threading.Event()

    class HangingSaga(Saga):
        @action("hang", timeout_seconds=0.2)
        def hang(self, ctx):
            gate.wait(60)

    options = {"SAGAZ_SYNC_THREADS": 1, "SAGAZ_CONCURRENCY": 2}
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[HangingSaga], config=options)
    with app.app_context():
        for _ in range(2):
            sagaz.start(HangingSaga, {})
    try:
        told = run(app, "worker")
    finally:
        gate.set()
    assert told.exit_code == 1
    assert "This worker has stopped, so that another one takes its place: 2 `def` steps have outlived" in told.output


@pytest.fixture
def worker(tmp_path):
    url = f"sqlite:///{tmp_path / 'sagaz.db'}"
    env = environment(SAGAZ_STORAGE_URL=url, SAGAZ_DRAIN_SECONDS="1", SAGAZ_POLL_SECONDS="0.05")
    env["PYTHONPATH"] = os.pathsep.join([str(HERE), env["PYTHONPATH"]])
    command = [sys.executable, "-m", "flask", "--app", "served_app", "sagaz", "worker"]
    program = Program(command, tmp_path / "worker.log", env, "Working on")
    program.start()
    yield url, program
    program.close()


@pytest.mark.parametrize(
    ("number", "endless"), [(signal.SIGTERM, "seconds"), (signal.SIGINT, "seconds"), (signal.SIGTERM, "blocked")]
)
def test_a_signal_lets_a_worker_drain_and_gives_back_the_rest(
    worker, make_app, until, record_of, ended, number, endless
):
    from served_app import Served

    url, program = worker
    app, sagaz = make_app(url, sagas=[Served])
    with app.app_context():
        short = sagaz.start(Served, {"seconds": 0.3})
        assert ended(app, short).status == "completed"
        long = sagaz.start(Served, {endless: 600})
        until(lambda: sagaz.load_saga_state(long)["steps"], "the worker has begun its first step")
    program.signal(number)
    assert program.wait(30) == 0, program.tail()
    assert "Stopping: 1 runs may end within 1 s." in program.tail()
    record = record_of(app, long)
    assert (record.status, record.failures, record.lease_owner) == ("pending", 0, None)


def test_an_application_installs_no_signal_handlers(make_app, OrderSaga):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    app, sagaz = make_app(sagas=[OrderSaga], worker=True)
    with app.app_context():
        sagaz.run_sync(sagaz.create_saga(OrderSaga), {"order_id": 1})
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_every_application_has_the_commands():
    app = Flask("shop")
    SagazExtension(app)
    words = {
        "worker",
        "list",
        "show",
        "retry",
        "cancel",
        "resolve",
        "prune",
        "check",
        "migrate",
        "events",
        "signal",
        "run-now",
    }
    group = app.cli.commands["sagaz"]
    assert words <= set(group.list_commands(click.Context(group)))


def test_a_saga_of_an_application_is_described_with_its_module(make_app, run):
    class Described(Saga):
        @action("only")
        async def only(self, ctx): ...

    app, _ = make_app(sagas=[Described])
    assert f"Described  ({__name__}." in run(app, "list").output


def test_operators_cancel_show_and_prune_runs(make_app, run, tmp_path, OrderSaga):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    with app.app_context():
        saga_id = sagaz.start(OrderSaga, {"order_id": 1})
    assert saga_id in run(app, "list", "--runs", "--status", "pending").output
    cancelled = run(app, "cancel", saga_id, "--by", "ann", "--reason", "mistake")
    assert (cancelled.exit_code, cancelled.output.split()[:2]) == (0, ["ok", saga_id])
    assert run(app, "worker", "--drain").exit_code == 0
    shown = json.loads(run(app, "show", saga_id, "--format", "json").output)
    assert (shown["status"], shown["error"], shown["audit"][0]["actor"]) == (
        "rolled_back", "cancelled by ann: mistake", "ann"
    )  # fmt: skip
    assert run(app, "retry", saga_id).exit_code == 1
    erased = run(app, "prune", "--contexts", saga_id, "--reason", "ticket 7")
    assert f"ok       {saga_id}  Erased context" in erased.output
    assert json.loads(run(app, "show", saga_id, "--context", "--format", "json").output)["context"] == {}
    assert "Deleted 1 runs" in run(app, "prune", "--older-than", "0s").output


def test_operators_see_what_runs_wait_for_and_signal_them(make_app, run, tmp_path):
    class Paid(Saga):
        saga_name = "paid"

        @action("pay")
        def pay(self, ctx):
            current_step().signal("paid", key="pi_1")
            current_step().sleep(timedelta(days=7))

    class Renamed(Saga):
        saga_name = "paid"

        @action("payment")
        def pay(self, ctx):
            pass

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[Paid])
    with app.app_context():
        saga_id = sagaz.start(Paid, {}, deadline=timedelta(days=30))
    run(app, "worker", "--drain")
    assert f"waiting       {saga_id}  paid: pay waits for signal 'paid'\n" in run(app, "list", "--runs").output
    assert "  pay waits for signal 'paid', key pi_1, since " in run(app, "show", saga_id).output
    assert "1 waiting" in run(app, "check").output
    renamed, _ = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[Renamed])
    assert "1 in 'pay' of 'paid'" in run(renamed, "check").output
    assert run(renamed, "check", "--max-lost-waits", "1").exit_code == 0
    words = ("signal", "paid", "--key", "pi_1", "--payload", '{"amount": 7}')
    assert "Sent." in run(app, *words).output
    assert json.loads(run(app, "list", "--signals", "--format", "json").output)[0]["key"] == "pi_1"
    run(app, "worker", "--drain")
    [listed] = json.loads(run(app, "list", "--runs", "--format", "json").output)
    assert [(wait["name"], wait["until"] is None) for wait in listed["waits"]] == [("", False)]
    assert run(app, "run-now", saga_id).output == f"ok       {saga_id}  Its sleep is over now.\n"
    run(app, "worker", "--drain")
    assert json.loads(run(app, "show", saga_id, "--format", "json").output)["status"] == "completed"


def test_events_are_listed_and_those_that_were_set_aside_are_retried(make_app, run, tmp_path):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config={"SAGAZ_BROKER_URL": "memory://"})
    with app.app_context():
        event_id = sagaz.publish("orders.placed", {"order": 1})
        runtime = app.extensions["sagaz"].process().get()
        (event,) = runtime.call(lambda: runtime.store.due_events(1, 30))
        runtime.call(lambda: runtime.store.settle_events([EventOutcome(event.id, "dead", "refused")]))
    assert [row["event_id"] for row in json.loads(run(app, "events", "--format", "json").output)] == [event_id]
    assert run(app, "events", "--status", "pending").output == "No events.\n"
    assert run(app, "events", "--retry", event_id, "--dry-run").output == f"{event_id}  would be published again\n"
    assert run(app, "events", "--retry", "--all").output == f"{event_id}  is due again\n"
    assert run(app, "events", "--retry", event_id).exit_code == 1
    assert "add --retry" in run(app, "events", "--all").output


def test_payloads_of_events_are_masked_as_the_setting_says(make_app, run, tmp_path):
    config = {"SAGAZ_BROKER_URL": "memory://", "SAGAZ_REDACT_KEYS": ["customer_*"]}
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config=config)
    with app.app_context():
        sagaz.publish("orders.placed", {"customer_name": "Ann", "password": "hunter2", "n": 1})
    [row] = json.loads(run(app, "events", "--payload", "--format", "json").output)
    assert row["payload"] == {"customer_name": "***", "password": "***", "n": 1}


def test_check_has_thresholds_for_probes(make_app, run, tmp_path, OrderSaga):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    with app.app_context():
        sagaz.start(OrderSaga, {"order_id": 1})
    assert run(app, "check", "--max-age", "3600", "--max-failed", "0").exit_code == 0
    told = run(app, "check", "--max-age", "0")
    assert (told.exit_code, "at most 0 s was asked for" in told.output) == (1, True)

"""What probes ask: a health route's readiness, a worker's heartbeat file, and the thresholds of check."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

import psycopg
import pytest

from flask_sagaz import RuntimeNotOpen, Saga, StoreNotMigrated, StoreRightsMissing, action
from sagaz_durable.stores.grants import grants
from support import pg


@pytest.fixture
def gate():
    """What a step waits for; opened at the end, whatever the test has come to."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def run():
    """Runs a command inside this process."""
    return lambda app, *words: app.test_cli_runner().invoke(args=["sagaz", *words])


def test_a_process_whose_threads_do_not_come_back_is_not_ready_and_takes_no_more_runs_until_they_do(
    make_app, tmp_path, gate, until
):
    class Hanging(Saga):
        saga_name = "hanging"

        @action("hang", timeout_seconds=0.1, max_retries=0)
        def hang(self, ctx):
            gate.wait(60)

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config={"SAGAZ_SYNC_THREADS": 1})
    with app.app_context():
        for _ in range(2):
            assert sagaz.readiness()
            with pytest.raises(TimeoutError):
                sagaz.run_sync(sagaz.create_saga(Hanging))
        found = sagaz.readiness()
        assert not found
        assert "step 'hang' of run" in found.problem
        with pytest.raises(RuntimeNotOpen, match="This process takes no new runs"):
            sagaz.run_sync(sagaz.create_saga(Hanging))
        gate.set()
        until(sagaz.readiness, "the threads are back")


def test_a_process_whose_event_loop_is_blocked_for_too_long_is_not_ready_until_it_turns_again(
    make_app, tmp_path, gate, until
):
    class Blocking(Saga):
        saga_name = "blocking"

        @action("block", timeout_seconds=0.1)
        async def block(self, ctx):
            gate.wait(60)

    config = {"SAGAZ_LEASE_SECONDS": 1, "SAGAZ_RENEW_SECONDS": 0.2}
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config=config)
    with app.app_context():
        sagaz.run_background(sagaz.create_saga(Blocking), {})
        until(lambda: "has blocked the event loop" in (sagaz.readiness().problem or ""), "the loop is given up")
        assert "step 'block' of saga 'blocking'" in sagaz.readiness().problem
        gate.set()
        until(sagaz.readiness, "the loop turns again")


def test_a_worker_writes_its_heartbeat_file_while_it_works_and_removes_it(make_app, run, tmp_path):
    beat = tmp_path / "beat"

    class Reading(Saga):
        saga_name = "reading"

        @action("read")
        def read(self, ctx):
            return {"beat": Path(ctx["path"]).read_text()}

    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[Reading])
    with app.app_context():
        saga_id = sagaz.start(Reading, {"path": str(beat)})
    told = run(app, "worker", "--drain", "--heartbeat-file", str(beat))
    assert told.exit_code == 0, told.output
    with app.app_context():
        assert sagaz.load_saga_state(saga_id)["context"]["beat"] == "ready\n"
    assert list(tmp_path.glob("beat*")) == []


def test_a_heartbeat_file_that_cannot_be_written_is_an_error(make_app, run, tmp_path, OrderSaga):
    app, _ = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", sagas=[OrderSaga])
    told = run(app, "worker", "--heartbeat-file", str(tmp_path / "none" / "beat"))
    assert (told.exit_code, "it cannot be written" in told.output) == (1, True)


def test_check_has_a_threshold_for_events_that_wait(make_app, run, tmp_path):
    app, sagaz = make_app(f"sqlite:///{tmp_path / 'sagaz.db'}", config={"SAGAZ_BROKER_URL": "memory://"})
    with app.app_context():
        sagaz.publish("orders.placed", {})
    assert run(app, "check").exit_code == 0
    told = run(app, "check", "--max-event-age", "0")
    assert (told.exit_code, "to be sent; at most 0 s is right" in told.output) == (1, True)


def test_settings_without_use_are_one_warning(make_app, OrderSaga, caplog):
    app, sagaz = make_app(config={"SAGAZ_METRICS": True, "SAGAZ_TRACING": "yes"})
    with app.app_context():
        for _ in range(2):
            sagaz.create_saga(OrderSaga)
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "SAGAZ_METRICS and SAGAZ_TRACING: accepted, and without use yet" in told


def test_a_server_whose_database_gets_tables_and_rights_only_later_recovers_by_itself(
    make_app, run, OrderSaga, until, caplog
):
    if reason := pg.why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    user = f"app_{secrets.token_hex(4)}"
    with pg.shared_server() as server, pg.database(server) as url:
        execute(url, f"CREATE ROLE {user} LOGIN")
        theirs = url.replace("postgresql://postgres@", f"postgresql://{user}@")
        app, sagaz = make_app(theirs, sagas=[OrderSaga])
        app.testing = True
        app.post("/")(lambda: sagaz.start(OrderSaga, {"order_id": 1}))

        def refused(error):
            for _ in range(3):
                with pytest.raises(error):
                    app.test_client().post("/")
                with app.app_context():
                    assert not sagaz.readiness()
                    assert sagaz.liveness()
            assert run(app, "check").exit_code == 1
            assert run(app, "worker", "--drain").exit_code == 1

        def ready():
            with app.app_context():
                return sagaz.readiness()

        def told():
            return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

        try:
            refused(StoreNotMigrated)
            assert len(told()) == 1
            migrating, _ = make_app(url)
            assert run(migrating, "migrate").exit_code == 0
            until(lambda: len(told()) > 1, "the rights are missed")
            refused(StoreRightsMissing)
            execute(url, *grants(user, "public"))
            until(ready, "it recovers")
            assert app.test_client().post("/").status_code == 200
            assert len(told()) == 2
            with app.app_context():
                sagaz.close()
        finally:
            execute(url, f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def execute(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())

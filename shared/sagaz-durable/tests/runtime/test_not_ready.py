"""What lacks is said by name and is no outage: a server waits for it, a command ends, and probes tell."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from pg import at
from sagaz import Saga, action

from sagaz_durable.cli import worker as working
from sagaz_durable.cli.render_health import health_json, health_text
from sagaz_durable.operations import checking
from sagaz_durable.operations.health import liveness, readiness, readiness_sync
from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import migrate
from sagaz_durable.stores.grants import grants
from sagaz_durable.testing.store_conformance.builders import parked, wait
from sagaz_durable.workers import heartbeat_file
from sagaz_integration_core.contract.events import EventFilter, EventOutcome, NewEvent
from sagaz_integration_core.errors import (
    RuntimeNotOpen,
    SettingsError,
    StoreNotMigrated,
    StoreRightsMissing,
    StoreUnavailable,
)


class Order(Saga):
    saga_name = "order"

    @action("charge")
    async def charge(self, ctx):
        return {"charged": True}


def execute(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def role(url):
    name = f"app_{secrets.token_hex(4)}"
    execute(url, f"CREATE ROLE {name} LOGIN")
    try:
        yield name
    finally:
        execute(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def quick(url, **values):
    return Settings(storage_url=url, poll_seconds=0.05, backoff_seconds=0.01, drain_seconds=5, **values)


@asynccontextmanager
async def serving(settings, **options):
    """A runtime as a server opens it."""
    runtime = SagazRuntime(settings, sagas=[Order], **options)
    await runtime.open(patient=True)
    await runtime.begin()
    try:
        yield runtime
    finally:
        await runtime.close()


async def eventually(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


def told(caplog, level):
    return [r.getMessage() for r in caplog.records if r.levelname == level and r.name.startswith("sagaz_durable")]


async def test_a_server_whose_database_gets_tables_and_rights_only_later_recovers_by_itself(postgres_url, caplog):
    with role(postgres_url) as name:
        async with serving(quick(at(postgres_url, user=name)), worker=True) as runtime:
            for _ in range(3):
                with pytest.raises(StoreNotMigrated, match="no sagaz tables"):
                    bind(runtime, Order)
                assert "no sagaz tables" in (await readiness(runtime)).problem
                assert liveness(runtime)
            await migrate(Settings(storage_url=postgres_url))
            await eventually(lambda: refused(runtime, StoreRightsMissing))
            execute(postgres_url, *grants(name, "public"))
            await eventually(lambda: readiness(runtime))
            assert (await bind(runtime, Order).run({}))["charged"]
            # Its embedded worker has begun, too.
            saga_id = await Sagas(runtime).start(Order, {})
            await eventually(lambda: ended(runtime, saga_id))
    errors = told(caplog, "ERROR")
    assert len(errors) == 2
    assert "no sagaz tables" in errors[0]
    assert "has not the right to SELECT, INSERT, UPDATE, DELETE on sagaz_run" in errors[1]


async def refused(runtime, kind):
    try:
        runtime.check_open()
    except kind:
        return True
    except StoreUnavailable:
        return False


async def ended(runtime, saga_id):
    return (await runtime.store.load(saga_id)).finished_at


async def test_a_server_that_ends_while_it_waits_leaves_nothing_open(postgres_url):
    async with serving(quick(postgres_url), worker=True) as runtime:
        assert not await readiness(runtime)
    assert not runtime.is_open
    assert "not open" in (await readiness(runtime)).problem


async def test_whoever_is_no_server_is_refused_at_once(postgres_url):
    with pytest.raises(StoreNotMigrated):
        await SagazRuntime(quick(postgres_url)).open()


async def test_an_embedded_worker_waits_for_rights_that_were_taken_away_and_tells_once(postgres_url, caplog):
    await migrate(Settings(storage_url=postgres_url))
    with role(postgres_url) as name:
        execute(postgres_url, *grants(name, "public"))
        async with serving(quick(at(postgres_url, user=name)), worker=True) as runtime:
            saga_id = await Sagas(runtime).start(Order, {})
            await eventually(lambda: ended(runtime, saga_id))
            execute(postgres_url, f"REVOKE UPDATE ON sagaz_run FROM {name}")
            await eventually(lambda: asyncio.sleep(0, len(told(caplog, "ERROR"))))
            assert "has not the right to UPDATE on sagaz_run" in (await readiness(runtime)).problem
            later = await Sagas(runtime).start(Order, {})
            execute(postgres_url, *grants(name, "public"))
            await eventually(lambda: ended(runtime, later))
            assert await readiness(runtime)
    [error] = [text for text in told(caplog, "ERROR") if "No runs can be claimed" in text]
    assert "permission denied for table sagaz_run. Grant it" in error


async def work(runtime, **options):
    return await working.work(runtime, tell=lambda _: None, **options)


@pytest.mark.parametrize("drain", [False, True])
async def test_a_worker_command_ends_when_rights_lack_from_the_beginning_or_later(postgres_url, drain):
    await migrate(Settings(storage_url=postgres_url))
    with role(postgres_url) as name:
        execute(postgres_url, *grants(name, "public"), f"REVOKE DELETE ON sagaz_audit FROM {name}")
        with pytest.raises(StoreRightsMissing, match="DELETE on sagaz_audit"):
            await SagazRuntime(quick(at(postgres_url, user=name)), sagas=[Order]).open()
        execute(postgres_url, *grants(name, "public"))
        runtime = SagazRuntime(quick(at(postgres_url, user=name)), sagas=[Order])
        await runtime.open()
        try:
            await Sagas(runtime).start(Order, {})
            execute(postgres_url, f"REVOKE UPDATE ON sagaz_run FROM {name}")
            with pytest.raises(StoreRightsMissing):
                await work(runtime, drain=drain)
        finally:
            await runtime.close()


async def test_drain_does_not_say_done_when_it_could_not_ask(tmp_path):
    runtime = SagazRuntime(quick(f"sqlite:///{tmp_path}/sagas.db"), sagas=[Order])
    await runtime.open()
    try:
        worker = runtime.make_worker(drain=True, command=True)
        (tmp_path / "sagas.db").rename(tmp_path / "gone.db")
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await worker.run()
        (tmp_path / "gone.db").rename(tmp_path / "sagas.db")
    finally:
        await runtime.close()


# Probes.


async def test_a_probe_tells_of_a_store_that_does_not_answer_and_is_no_reason_to_restart(settings, opened, monkeypatch):
    async with opened(settings) as runtime:
        assert await readiness(runtime)
        assert await asyncio.to_thread(readiness_sync, runtime)

        async def silent(**_):
            await asyncio.Event().wait()

        monkeypatch.setattr(runtime.store, "check_ready", silent)
        found = await readiness(runtime, seconds=0.05)
        assert (found.ok, found.problem) == (False, "The store has not answered within 0.05 s.")
        assert liveness(runtime)


async def test_a_loop_that_stands_still_longer_than_a_lease_is_a_reason_to_restart(settings, opened):
    async with opened(replace(settings, lease_seconds=1, renew_seconds=0.3)) as runtime:
        answers = []

        def ask():
            deadline = time.monotonic() + 20
            while not answers or answers[-1]:
                answers.append(liveness(runtime))
                assert time.monotonic() < deadline
                time.sleep(0.05)
            answers.append(readiness_sync(runtime, seconds=0.05))

        asking = asyncio.to_thread(ask)
        asked = asyncio.ensure_future(asking)
        await asyncio.sleep(0)
        while len(answers) < 2 or answers[-2]:
            time.sleep(0.01)  # noqa: ASYNC251 - the event loop does not come round
        await asked
    assert "has stood still for" in answers[-2].problem
    assert "has not come round" in answers[-1].problem


async def test_a_runtime_that_is_closed_is_not_ready_and_alive(settings):
    runtime = SagazRuntime(settings)
    assert "is not open" in (await readiness(runtime)).problem
    assert liveness(runtime)
    with pytest.raises(RuntimeNotOpen):
        runtime.check_open()


async def test_the_heartbeat_file_says_ready_while_the_worker_works_and_is_gone_afterwards(
    tmp_path, shared_settings, opened, monkeypatch
):
    monkeypatch.setattr(heartbeat_file, "_SECONDS", 0.02)
    path = tmp_path / "beat"
    async with opened(shared_settings, sagas=[Order]) as runtime:
        worker = runtime.make_worker()
        async with heartbeat_file.kept_alive(str(path), worker):
            assert path.read_text() == "ready\n"
            before = path.stat().st_mtime_ns
            worker.problem = "The store is unreachable."

            async def changed():
                return path.read_text() == "not ready: The store is unreachable.\n" and path.stat().st_mtime_ns > before

            await eventually(changed)
        assert list(tmp_path.glob("beat*")) == []
        with pytest.raises(SettingsError, match=r"none/beat: it cannot be written: No such file or directory\. Name"):
            async with heartbeat_file.kept_alive(str(tmp_path / "none" / "beat"), worker):
                pytest.fail("it began")


# The command check.


async def test_check_tells_of_events_that_were_set_aside_and_of_those_that_wait_too_long(settings, opened):
    async with opened(settings) as runtime:
        await runtime.store.insert_events([NewEvent(f"e{n}", f"k{n}", "orders", "{}", "{}") for n in range(2)])
        [event, _] = await runtime.store.find_events(EventFilter())
        await runtime.store.settle_events([EventOutcome(event.id, "dead", error="no such queue")])
        health = await checking.check(runtime)
        assert not health.healthy
        assert health.stats.dead_events == 1
        assert "1 events were set aside and need manual intervention" in health.problem
        assert "An event has waited" not in health.problem
        assert "set aside" not in ((await checking.check(runtime, checking.Limits(max_dead=1))).problem or "")

        async def waited():
            health = await checking.check(runtime, checking.Limits(max_dead=1, max_event_age=0.01))
            return health.problem if "to be sent" in (health.problem or "") else None

        assert "to be sent; at most 0.01 s is right" in await eventually(waited)


async def test_check_counts_signals_that_nobody_took_and_runs_past_their_deadline(settings, opened):
    async with opened(settings, sagas=[Order], worker=False) as runtime:
        for n in range(2):
            await Sagas(runtime).send_signal("paid", {"n": n}, key=f"pi_{n}")
        await Sagas(runtime).start(Order, {}, deadline=datetime.now(UTC) - timedelta(hours=1))
        health = await checking.check(runtime)
        assert "signals    2 not taken\ndeadlines  1 passed\n" in health_text(health)
        found = json.loads(health_json(health))["stats"]
        assert (found["untaken_signals"], found["overdue"]) == (2, 1)


async def test_check_counts_a_run_whose_signal_has_come_as_due_since_then(settings, opened):
    async with opened(settings, sagas=[Order], worker=False) as runtime:
        store = runtime.store
        run = await parked(store, wait("paid", "charge"), name="order")
        await parked(store, wait("paid", "charge"), name="order")
        assert (await checking.check(runtime)).stats.due == 0
        await Sagas(runtime).send_signal("paid", {}, saga_id=run.saga_id)

        async def asked():
            health = await checking.check(runtime, checking.Limits(max_age=0))
            return health if health.problem else None

        health = await eventually(asked)
        assert (health.stats.due, health.stats.due_by_saga) == (1, {"order": 1})
        assert 0 < health.stats.oldest_due_age < 60
        assert "1 runs are due, the oldest for" in health.problem
        await store.heartbeat("other", 30, "worker", ["another"])
        assert (
            "No live worker knows the saga of runs that are due: 1 of 'order'."
            in (await checking.check(runtime)).problem
        )


async def test_check_tells_that_no_worker_is_alive_for_a_run_whose_signal_has_come(settings, opened, monkeypatch):
    monkeypatch.setattr(checking, "_PATIENCE", 0.0)
    async with opened(settings, sagas=[Order], worker=False) as runtime:
        run = await parked(runtime.store, wait("paid", "charge"), name="order")
        await Sagas(runtime).send_signal("paid", {}, saga_id=run.saga_id)
        problem = (await checking.check(runtime)).problem
        assert "1 runs are due" in problem
        assert "no worker is alive" in problem


async def test_check_tells_of_a_memory_store_that_nobody_chose():
    health = await checking.check(SagazRuntime(Settings()))
    assert not health.healthy
    assert "no setting says where: set SAGAZ_STORAGE_URL" in health.problem
    assert (await checking.check(SagazRuntime(Settings.from_mapping({"STORAGE_URL": "memory://"})))).healthy


async def test_check_tells_of_rights_that_lack_unless_one_only_reads(postgres_url):
    await migrate(Settings(storage_url=postgres_url))
    with role(postgres_url) as name:
        execute(postgres_url, *grants(name, "public", only_reads=True))
        settings = quick(at(postgres_url, user=name))
        health = await checking.check(SagazRuntime(settings))
        assert (health.healthy, health.reachable, health.migrated) == (False, True, True)
        assert "has not the right to INSERT, UPDATE, DELETE on sagaz_run" in health.problem
        assert (await checking.check(SagazRuntime(settings), only_reads=True)).healthy


async def test_check_tells_of_due_runs_whose_saga_no_live_worker_knows(shared_settings, opened):
    async with opened(shared_settings, sagas=[Order]) as runtime:
        await Sagas(runtime).start(Order, {})
        assert (await checking.check(runtime)).healthy
        await runtime.store.heartbeat("w1", 30, "worker", ["invoice"])
        await runtime.store.heartbeat("w2", 30, "web", ["order"])
        health = await checking.check(runtime)
        assert "No live worker knows the saga of runs that are due: 1 of 'order'." in health.problem
        assert (await checking.check(runtime, checking.Limits(max_unknown=1))).healthy
        await runtime.store.heartbeat("w3", 30, "sweep", ["order", "invoice"])
        assert (await checking.check(runtime)).healthy

"""What the commands say, on every embedded store, without any framework."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import sys
from dataclasses import replace

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable import problem_types
from sagaz_durable.cli import worker as working
from sagaz_durable.cli.failures import failure_json, failure_text
from sagaz_durable.cli.render_health import health_json, health_text
from sagaz_durable.operations import catalogue as commands
from sagaz_durable.operations import checking
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import Wording
from sagaz_durable.stores.sqlite.store import SQLiteStore
from sagaz_integration_core.contract.listings import StoreStats
from sagaz_integration_core.errors import SagaNotRegistered, SettingsError, StoreUnavailable


class OrderSaga(Saga):
    saga_name = "order"

    @action("ship", depends_on=["charge", "reserve"], pivot=True)
    async def ship(self, ctx):
        return {}

    @action("charge", depends_on=["reserve"])
    async def charge(self, ctx):
        if ctx.get("decline"):
            raise ValueError("declined")
        return {}

    @compensate("charge")
    async def refund(self, ctx):
        return None

    @action("reserve")
    async def reserve(self, ctx):
        return {}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def settings(tmp_path):
    return Settings(storage_url=f"sqlite:///{tmp_path}/sagas.db", poll_seconds=0.05)


def stats(**figures):
    counts = dict.fromkeys(("pending", "executing", "compensating", "completed", "rolled_back", "failed"), 0)
    return StoreStats(**{"counts": counts, "due": 0, "oldest_due_age": None, "live_workers": 0, **figures})


# Listing.


def test_a_listing_shows_steps_in_an_order_in_which_they_can_run():
    listing = commands.list_sagas(SagazRuntime(Settings(), sagas=[OrderSaga]))
    assert commands.list_text(listing, "here") == (
        f"order  ({__name__}.OrderSaga)\n"
        "  reserve\n"
        "  charge   after reserve; compensated\n"
        "  ship     after charge, reserve; pivot\n"
        "  (no effect declared: reserve, charge, ship, undo of charge)"
    )
    [saga] = json.loads(commands.as_json(listing))
    assert saga["name"] == "order"
    assert [step["name"] for step in saga["steps"]] == ["reserve", "charge", "ship"]


def test_an_empty_listing_says_where_sagas_are_registered():
    listing = commands.list_sagas(SagazRuntime(Settings()))
    assert commands.list_text(listing, 'SAGAZ["SAGAS"]') == 'No saga is registered. Add the classes to SAGAZ["SAGAS"].'
    assert commands.as_json(listing) == "[]"


# Checking.


async def test_a_runtime_that_is_not_open_is_opened_for_the_check_and_closed(settings):
    runtime = SagazRuntime(settings)
    health = await checking.check(runtime)
    assert (health.healthy, health.reachable, health.migrated, health.problem) == (True, True, True, None)
    assert not runtime.is_open
    assert health_text(health) == (
        f"store      {settings.storage_url}\n"
        "reachable  yes\n"
        "tables     up to date\n"
        "runs       0 pending, 0 executing, 0 compensating, 0 waiting, 0 completed, 0 rolled_back, 0 failed\n"
        "due        0\n"
        "workers    0 alive\n"
        "people     0 runs wait for one\n"
        "signals    0 not taken\n"
        "deadlines  0 passed\n"
        "events     0 set aside\n"
        "webhooks   0 quarantined\n"
        "problem    none"
    )


async def test_a_runtime_that_is_open_stays_open(settings):
    runtime = SagazRuntime(settings, sagas=[OrderSaga])
    await runtime.open()
    await Sagas(runtime).start(OrderSaga, {})
    health = await checking.check(runtime)
    assert runtime.is_open
    await runtime.close()
    found = json.loads(health_json(health))
    assert (found["stats"]["counts"]["pending"], found["stats"]["due"], found["healthy"]) == (1, 1, True)
    assert "due        1, the oldest for 0." in health_text(health)


async def test_a_store_that_cannot_be_reached_is_a_problem_and_no_exception(tmp_path):
    runtime = SagazRuntime(Settings(storage_url=f"sqlite:///{tmp_path}/none/sagas.db"))
    health = await checking.check(runtime)
    assert (health.healthy, health.reachable, health.migrated, health.stats) == (False, False, False, None)
    text = health_text(health)
    assert "reachable  no\ntables     unknown\nproblem    The SQLite store" in text


async def test_the_check_of_a_memory_store_says_whose_memory_it_is():
    health = await checking.check(SagazRuntime(Settings()))
    assert "note       each process has a memory of its own" in health_text(health)


@pytest.mark.parametrize(
    ("figures", "healthy"),
    [
        ({}, True),
        ({"due": 3, "oldest_due_age": 59.0}, True),
        ({"due": 3, "oldest_due_age": 61.0}, False),
        ({"due": 3, "oldest_due_age": 61.0, "live_workers": 1}, True),
    ],
)
async def test_work_that_nobody_does_is_a_problem(settings, monkeypatch, figures, healthy):
    async def answer(self):
        return stats(**figures)

    monkeypatch.setattr(SQLiteStore, "stats", answer)
    health = await checking.check(SagazRuntime(settings))
    assert health.healthy is healthy
    assert healthy or "3 runs are due, the oldest for 61 s, and no worker is alive" in health.problem


async def test_failed_runs_are_counted_and_no_problem(settings, monkeypatch):
    async def answer(self):
        return stats(counts={**stats().counts, "failed": 2})

    monkeypatch.setattr(SQLiteStore, "stats", answer)
    health = await checking.check(SagazRuntime(settings))
    assert health.healthy
    assert "2 failed" in health_text(health)


# Migrating.


async def test_embedded_stores_have_nothing_to_migrate(settings):
    for given, kind in ((settings, "sqlite"), (Settings(), "memory")):
        text = await commands.migrate(SagazRuntime(given))
        assert text == f"Nothing to migrate: the {kind} store makes its own tables."


async def test_a_server_that_is_away_is_an_error_without_the_password():
    pytest.importorskip("psycopg")
    runtime = SagazRuntime(Settings(storage_url="postgresql://me:secret@127.0.0.1:1/shop"))
    with pytest.raises(StoreUnavailable) as caught:
        await commands.migrate(runtime)
    assert "secret" not in str(caught.value)


# Working.


async def work(runtime, **options):
    said = []
    ended = await working.work(runtime, tell=said.append, **options)
    return ended, said


async def test_drain_executes_what_is_due_and_counts_it(settings):
    runtime = SagazRuntime(settings, sagas=[OrderSaga])
    await runtime.open()
    for decline in (False, True, False):
        await Sagas(runtime).start(OrderSaga, {"decline": decline})
    ended, said = await work(runtime, drain=True)
    await runtime.close()
    assert dict(ended) == {"completed": 2, "rolled_back": 1}
    assert working.summary(ended) == "2 completed, 1 rolled_back"
    assert said == ["Working on sqlite: order."]


async def test_a_worker_that_is_stopped_while_it_claims_tells_what_it_waits_for(settings, monkeypatch):
    said = []

    class Waiting(Saga):
        @action("wait")
        async def wait(self, ctx):
            while len(said) < 2:
                await asyncio.sleep(0)

    runtime = SagazRuntime(replace(settings, drain_seconds=30), sagas=[Waiting])
    await runtime.open()
    await Sagas(runtime).start(Waiting, {})
    claim = runtime.store.claim

    async def claimed_when_the_signal_comes(*args, **options):
        claimed = await claim(*args, **options)
        assert callable(signal.getsignal(signal.SIGTERM))
        signal.raise_signal(signal.SIGTERM)
        # The loop hears of the signal before the worker has its answer.
        await asyncio.sleep(0)
        return claimed

    monkeypatch.setattr(runtime.store, "claim", claimed_when_the_signal_comes)
    async with asyncio.timeout(20):
        ended = await working.work(runtime, tell=said.append)
    await runtime.close()
    assert dict(ended) == {"completed": 1}
    assert said[1:] == ["Stopping: 1 runs may end within 30 s. Once more stops at once."]


async def test_a_worker_on_memory_is_refused_with_the_two_ways_out():
    runtime = SagazRuntime(Settings(wording=Wording(worker="INSIDE")), sagas=[OrderSaga])
    await runtime.open()
    with pytest.raises(SettingsError, match=r"SAGAZ_STORAGE_URL \(sqlite:///.*inside the application: INSIDE"):
        await work(runtime)
    await runtime.close()


async def test_a_worker_without_sagas_is_refused(settings):
    runtime = SagazRuntime(replace(settings, wording=Wording(sagas="HERE")))
    await runtime.open()
    with pytest.raises(SagaNotRegistered, match="Add the classes to HERE"):
        await work(runtime)
    await runtime.close()


@pytest.fixture
def root(monkeypatch):
    """A root logger of the test's own."""
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr(logging.Logger, "root", root)
    return root


def test_a_command_logs_with_ids_and_leaves_the_root_logger_as_it_was(root):
    # pytest has added what captures the records of this test.
    root.handlers.clear()
    with working.logging_to_stderr():
        [handler] = root.handlers
        assert root.level == logging.INFO
        record = logging.makeLogRecord({"msg": "hello", "name": "shop", "levelname": "INFO"})
        assert handler.filter(record)
        assert handler.format(record).endswith("INFO shop [- -] hello")
        record.saga_id = "s-1"
        assert handler.format(record).endswith("INFO shop [- s-1] hello")
    assert (root.handlers, root.level) == ([], logging.WARNING)


def test_a_command_leaves_the_applications_logging_alone(root):
    root.handlers.clear()
    root.addHandler(own := logging.NullHandler())
    with working.logging_to_stderr():
        assert (root.handlers, root.level) == ([own], logging.WARNING)
    assert root.handlers == [own]


@pytest.fixture
def own_switches():
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("before", "meanwhile"), [(0.005, 0.0001), (0.02, 0.02)], ids=["python's own", "a choice"])
async def test_a_worker_tunes_the_interpreter_only_while_it_works(settings, own_switches, before, meanwhile):
    seen = []

    class Look(Saga):
        saga_name = "look"

        @action("look")
        async def look(self, ctx):
            seen.append(sys.getswitchinterval())

    sys.setswitchinterval(before)
    runtime = SagazRuntime(settings, sagas=[Look])
    await runtime.open()
    collector = gc.get_threshold(), gc.get_freeze_count()
    await Sagas(runtime).start(Look, {})
    await work(runtime, drain=True)
    assert seen == [pytest.approx(meanwhile)]
    assert sys.getswitchinterval() == pytest.approx(before)
    assert (gc.get_threshold(), gc.get_freeze_count()) == collector
    await runtime.close()


NONE_FAILED = {"completed": 1, "failed": 0}


@pytest.mark.parametrize(
    ("stats", "limits", "kind"),
    [
        (StoreStats(NONE_FAILED, 1, 90.0, 0), checking.Limits(), problem_types.NO_WORKER),
        (StoreStats(NONE_FAILED, 1, 90.0, 1), checking.Limits(max_age=60), problem_types.RUNS_LATE),
        (StoreStats({"failed": 1}, 0, None, 1), checking.Limits(max_failed=0), problem_types.RUN_FAILED),
        (StoreStats(NONE_FAILED, 0, None, 1, asking=1), checking.Limits(max_asking=0), problem_types.RUNS_ASKING),
        (
            StoreStats(NONE_FAILED, 1, 1.0, 1, due_by_saga={"refund": 1}),
            checking.Limits(),
            problem_types.SAGA_WITHOUT_WORKER,
        ),
        (StoreStats(NONE_FAILED, 0, None, 1, dead_events=1), checking.Limits(), problem_types.EVENTS_SET_ASIDE),
        (StoreStats(NONE_FAILED, 0, None, 1, oldest_unsent_age=400), checking.Limits(), problem_types.EVENTS_LATE),
    ],
)
async def test_what_check_finds_has_the_address_where_it_is_explained(monkeypatch, stats, limits, kind):
    async def figures(store):
        return stats

    runtime = SagazRuntime(Settings.from_mapping({"STORAGE_URL": "memory://"}), sagas=[OrderSaga])
    monkeypatch.setattr(checking, "_stats", figures)
    health = await checking.check(runtime, limits)
    assert [finding.kind for finding in health.findings] == [kind]
    assert health_text(health).endswith(f"problem    {health.problem}\nSee {kind.address}")
    [told] = json.loads(health_json(health))["findings"]
    assert told == {"type": kind.address, "title": kind.title, "detail": health.problem}


async def test_check_of_what_is_well_refers_to_nothing():
    health = await checking.check(SagazRuntime(Settings.from_mapping({"STORAGE_URL": "memory://"})))
    assert health_text(health).endswith("problem    none")
    told = json.loads(health_json(health))
    assert (told["healthy"], told["problem"], told["findings"]) == (True, None, [])


async def test_runs_that_are_kept_in_memory_unasked_have_their_address():
    health = await checking.check(SagazRuntime(Settings()))
    assert [finding.kind for finding in health.findings] == [problem_types.RUNS_IN_MEMORY]


def test_what_an_error_tells_moves_no_terminal_as_text_or_as_json():
    error = StoreUnavailable("\x1b[2Jgone")
    assert failure_text(error) == f"\\x1b[2Jgone\nSee {problem_types.UNAVAILABLE.address}"
    assert json.loads(failure_json(error, {"format": "json"}))["detail"] == "\\x1b[2Jgone"
    assert failure_json(error, {"format": "text"}) is None

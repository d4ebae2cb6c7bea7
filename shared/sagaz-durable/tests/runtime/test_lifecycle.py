"""Opening and closing: what is opened is closed, whatever fails in between, and sagaz's own resources too."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from sagaz import Saga, SagaConfig, SagaStatus, action, compensate
from sagaz.core.outbox.brokers.memory import InMemoryBroker
from sagaz.core.storage.backends.sqlite.saga import SQLiteSagaStorage
from sagaz.core.storage.manager import StorageManager

from sagaz_durable.runtime.bound_saga import bind
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import (
    ContextValueError,
    RunInterrupted,
    RuntimeNotOpen,
    SettingsError,
    StoreUnavailable,
)


class Order(Saga):
    @action("charge")
    async def charge(self, ctx):
        return {"charged": ctx["n"]}

    @compensate("charge")
    async def refund(self, ctx):
        raise OSError("provider is away")

    @action("ship", depends_on=["charge"])
    async def ship(self, ctx):
        if ctx["n"] < 0:
            raise ValueError("no")


async def test_a_runtime_can_be_opened_again_after_it_was_closed(settings, opened):
    runtime = SagazRuntime(settings)
    for _ in range(2):
        await runtime.open()
        await runtime.begin()
        assert (await bind(runtime, Order).run({"n": 1})).status is SagaStatus.COMPLETED
        await runtime.close()
        await runtime.close()


async def test_opening_twice_is_refused(runtime):
    with pytest.raises(RuntimeNotOpen, match="open already"):
        await runtime.open()


async def test_what_opening_makes_is_refused_with_the_fix_before(settings, runtime):
    unopened = SagazRuntime(settings)
    made = vars(runtime).keys() - vars(unopened).keys()
    assert made >= {"store", "runs", "leases", "loop"}
    for name in (*made, "config", "broker", "worker_has_died"):
        with pytest.raises(RuntimeNotOpen, match=r"is not open.*Use `\w+` after .*`await runtime\.open\(\)`"):
            getattr(unopened, name)


def test_a_name_that_no_runtime_has_is_an_ordinary_attribute_error():
    runtime = SagazRuntime(Settings())
    with pytest.raises(AttributeError, match="'SagazRuntime' object has no attribute 'stroe'"):
        runtime.stroe  # noqa: B018
    assert not hasattr(runtime, "__deepcopy__")


async def test_nothing_is_left_open_when_opening_half_fails(tmp_path):
    class Broken(SQLiteSagaStorage):
        async def initialize(self):
            raise OSError("disk on fire")

    config = SagaConfig(storage=Broken(str(tmp_path / "own.db")))
    factory = logging.getLogRecordFactory()
    runtime = SagazRuntime(Settings(storage_url=f"sqlite:///{tmp_path / 'ours.db'}"), config=config)
    with pytest.raises(StoreUnavailable, match="Broken cannot be opened: OSError: disk on fire"):
        await runtime.open()
    assert not runtime.is_open
    assert logging.getLogRecordFactory() is factory
    assert [task for task in asyncio.all_tasks() if "sagaz" in task.get_name()] == []


async def test_a_runtime_is_refused_in_a_forked_process(runtime):
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Python 3.15 warns of every fork beside threads. This child looks, tells and exits.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            runtime.check_open()
        except RuntimeNotOpen as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert "before a fork" in answer.read()
    await asyncio.to_thread(os.waitpid, child, 0)


async def test_a_config_with_sagazs_own_storage_gets_every_state_truthfully(tmp_path, opened):
    storage = SQLiteSagaStorage(str(tmp_path / "own.db"))
    async with opened(Settings(), config=SagaConfig(storage=storage)) as runtime:
        assert runtime.store.kind == "sqlite", "runs are kept where the config says"
        good = await bind(runtime, Order).run({"n": 1})
        with pytest.raises(ValueError, match="no"):
            await bind(runtime, Order).run({"n": -1})
        [bad] = await runtime.store.find(RunFilter(statuses=("failed",)))
        assert (await storage.load_saga_state(good.saga_id))["status"] == "completed"
        state = await storage.load_saga_state(bad.saga_id)
        assert state["status"] == "failed", "sagaz itself would say rolled_back"
    assert storage._conn is None, "and it was closed"


async def test_a_storage_that_cannot_save_fails_the_run_instead_of_a_warning(tmp_path, opened):
    class Full(SQLiteSagaStorage):
        async def save_saga_state(self, *args, **kwargs):
            raise OSError("disk full")

    config = SagaConfig(storage=Full(str(tmp_path / "own.db")))
    async with opened(Settings.from_mapping({"STORAGE_URL": "memory://"}), config=config) as runtime:
        with pytest.raises(RunInterrupted, match="disk full"):
            await bind(runtime, Order).run({"n": 1})


async def test_a_storage_manager_that_nobody_initialized_is_initialized_once(tmp_path, opened):
    manager = StorageManager(f"sqlite:///{tmp_path / 'own.db'}")
    with pytest.warns(RuntimeWarning, match="not initialized"):
        config = SagaConfig(storage_manager=manager)
    async with opened(Settings(), config=config) as runtime:
        result = await bind(runtime, Order).run({"n": 1})
        assert (await manager.saga.load_saga_state(result.saga_id))["status"] == "completed"


async def test_a_storage_without_journal_asks_where_runs_are_to_be_kept(monkeypatch):
    class RedisSagaStorage:
        pass

    config = SagaConfig()
    config.storage = RedisSagaStorage()
    with pytest.raises(SettingsError, match=r"RedisSagaStorage, which keeps no journal.*SAGAZ_STORAGE_URL"):
        SagazRuntime(Settings(), config=config)


async def test_unmodified_sagaz_code_saves_into_the_store_and_is_marked_foreign(runtime):
    result = await Order(config=runtime.config).run({"n": 1})
    state = await runtime.config.storage.load_saga_state(result["saga_id"])
    assert (state["status"], state["metadata"]["foreign"]) == ("completed", True)
    assert await runtime.store.claim("me", 10, 30.0, runtime.registry.first_steps) == []


async def test_a_runs_state_is_looked_up_through_sagazs_storage_interface(runtime):
    result = await bind(runtime, Order).run({"n": 1})
    state = await runtime.config.storage.load_saga_state(result.saga_id)
    assert state["context"] == {"n": 1, "charged": 1}
    assert [(s["name"], s["status"]) for s in state["steps"]] == [("charge", "completed"), ("ship", "completed")]
    assert await runtime.config.storage.load_saga_state("nobody") is None


async def test_what_unmodified_sagaz_code_saves_may_be_as_large_as_the_setting_says(settings, opened):
    async with opened(replace(settings, max_context_bytes=8_000_000)) as runtime:
        storage = runtime.config.storage
        await storage.save_saga_state("mine", "order", SagaStatus.COMPLETED, [], {"note": "x" * 2_000_000})
        assert len((await storage.load_saga_state("mine"))["context"]["note"]) == 2_000_000
    async with opened(replace(settings, max_context_bytes=2_000, wording=Wording(settings="my {name}"))) as runtime:
        with pytest.raises(ContextValueError, match=r"2,000 are allowed \(my MAX_CONTEXT_BYTES\)"):
            await runtime.config.storage.save_saga_state("2", "order", SagaStatus.COMPLETED, [], {"note": "x" * 3_000})


async def test_events_are_published_in_order_with_sagazs_topics_and_stable_ids(settings, opened):
    broker = InMemoryBroker()
    config = SagaConfig(broker=broker, outbox_storage=None)
    async with opened(settings, config=config, worker=True) as runtime:
        with pytest.raises(ValueError, match="no"):
            await bind(runtime, Order).run({"n": -1})
        async with asyncio.timeout(10):
            while not broker.get_messages("Order.failed"):
                await asyncio.sleep(0.01)
    assert list(broker._messages) == ["Order.charge.success", "Order.ship.failed", "Order.failed"]
    assert all(len(messages) == 1 for messages in broker._messages.values())


IMPORTS = """
import logging, sys
{before}
logging.getLogger().setLevel(logging.ERROR)
handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
{after}
logging.basicConfig(format="mine %(message)s")
root = logging.getLogger()
assert [h.formatter._fmt for h in root.handlers] == ["mine %(message)s"], root.handlers
assert root.level == level, root.level
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from sagaz_durable import guard_import; guard_import()", "import sagaz"),
        ("import sagaz; from sagaz_durable import guard_import; guard_import()", ""),
        ("", "import sagaz_durable; sagaz_durable.configured_globally()"),
        ("", "from sagaz_durable._upstream.imports import load_sagaz; load_sagaz(); import sagaz"),
    ],
)
def test_the_root_logger_stays_as_the_application_configures_it(before, after):
    code = IMPORTS.format(before=before, after=after)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("wanted", [True, False])
async def test_each_end_is_logged_at_its_level_and_without_logging_only_those_that_need_a_person(
    settings, opened, caplog, wanted
):
    class RolledBack(Saga):
        @action("one")
        async def one(self, ctx):
            raise ValueError("no")

    caplog.set_level(logging.INFO)
    async with opened(replace(settings, logging=wanted)) as runtime:
        await bind(runtime, Order).run({"n": 1})
        for saga, n in ((RolledBack, 1), (Order, -1)):
            with pytest.raises(ValueError, match="no"):
                await bind(runtime, saga).run({"n": n})
    ends = [
        (record.levelname, record.getMessage().split(": ")[1].split(" (")[0])
        for record in caplog.records
        if record.name == "sagaz_durable.engine.execution" and record.message.startswith("Saga ")
    ]
    all_ends = [("INFO", "completed"), ("WARNING", "rolled_back"), ("ERROR", "failed")]
    assert ends == (all_ends if wanted else all_ends[-1:])

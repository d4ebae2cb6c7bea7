"""What is declared of steps: refused by name where it cannot be kept, and listed."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import sessionmaker

from sagaz_durable import Saga, action, compensate, effect
from sagaz_durable.cli.render_health import health_text
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.operations.catalogue import as_json, list_sagas, list_text
from sagaz_durable.operations.checking import check
from sagaz_durable.runtime.configuration import Configuration
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import SagaDefinitionError


class Shop(Saga):
    saga_name = "shop"

    @action("look")
    @effect("read_only")
    async def look(self, ctx): ...

    @action("charge", depends_on=["look"])
    @effect("transactional")
    def charge(self, ctx): ...

    @compensate("charge")
    @effect("idempotent")
    def refund(self, ctx): ...

    @action("ship", depends_on=["charge"])
    def ship(self, ctx): ...


class Undone(Saga):
    saga_name = "undone"

    @action("charge")
    def charge(self, ctx): ...

    @effect("transactional")
    @compensate("charge")
    async def refund(self, ctx): ...


def configured(url, *sagas, factory=None):
    return Configuration(Settings(storage_url=url), sagas=sagas, session_factory=factory)


def test_a_saga_with_transactional_steps_is_refused_where_runs_are_kept_in_memory():
    with pytest.raises(
        SagaDefinitionError, match=r"Step 'charge' of saga 'shop' .* kept in memory.* SAGAZ_STORAGE_URL"
    ):
        configured("memory://", Shop, factory=sessionmaker())


def test_one_whose_compensation_is_transactional_is_refused_too_and_also_when_it_is_added_later():
    configuration = configured("memory://")
    with pytest.raises(
        SagaDefinitionError, match="The compensation of step 'charge' of saga 'undone' is transactional"
    ):
        configuration.registry.add(Undone)
    assert "undone" not in configuration.registry


def test_it_is_refused_where_nobody_has_said_what_makes_its_session():
    with pytest.raises(SagaDefinitionError, match="Give session_factory=…"):
        configured("sqlite:///shop.db", Shop)


def test_it_is_refused_where_the_factory_makes_the_other_kind_of_sessions():
    with pytest.raises(SagaDefinitionError, match="asynchronous sessions, and a `def` step cannot await"):
        configured("sqlite:///shop.db", Shop, factory=async_sessionmaker())
    with pytest.raises(SagaDefinitionError, match="block the event loop of an `async def` step"):
        configured("sqlite:///shop.db", Undone, factory=sessionmaker())


@pytest.mark.parametrize("given", ["transaction", None, ["read_only"]])
def test_an_effect_that_there_is_not_is_refused(given):
    with pytest.raises(SagaDefinitionError, match="expected one of 'transactional', 'idempotent', 'read_only'"):
        effect(given)


def test_an_effect_of_what_is_no_step_is_refused():
    class Helping(Saga):
        @action("charge")
        def charge(self, ctx): ...

        @effect("read_only")
        def helper(self): ...

    with pytest.raises(SagaDefinitionError, match=r"helper has @effect\('read_only'\), and is neither a step"):
        SagaRegistry([Helping])
    with pytest.raises(SagaDefinitionError, match="decorates a step or a compensation"):
        effect("read_only")(Helping)


def test_a_transactional_step_is_not_journaled_by_a_claim_and_its_saga_is_known_all_the_same():
    class First(Saga):
        saga_name = "first"

        @action("charge")
        @effect("transactional")
        def charge(self, ctx): ...

    registry = SagaRegistry([First])
    assert registry.first_steps == {"first": ()}
    assert registry.known_steps() == {"first": ["charge"]}
    assert registry.mark("first") is not None


def test_list_tells_of_effects_and_of_steps_that_declare_none():
    registry = SagaRegistry([Shop])
    assert list_text(list_sagas(_Known(registry)), "").splitlines()[1:] == [
        "  look    read_only",
        "  charge  after look; transactional; compensated (idempotent)",
        "  ship    after charge",
        "  (no effect declared: ship)",
    ]
    [saga] = json.loads(as_json(list_sagas(_Known(registry))))
    assert [(step["effect"], step["undo_effect"]) for step in saga["steps"]] == [
        ("read_only", None),
        ("transactional", "idempotent"),
        (None, None),
    ]


def test_a_compensation_that_declares_no_effect_is_listed_so():
    class Half(Saga):
        saga_name = "half"

        @action("charge")
        @effect("idempotent")
        def charge(self, ctx): ...

        @compensate("charge")
        def refund(self, ctx): ...

    text = list_text(list_sagas(_Known(SagaRegistry([Half]))), "")
    assert text.splitlines()[1:] == ["  charge  idempotent; compensated", "  (no effect declared: undo of charge)"]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_check_tells_that_transactional_steps_hold_the_lock_of_sqlite_and_calls_it_no_problem(
    kind, tmp_path, request
):
    url = f"sqlite:///{tmp_path / 'shop.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(storage_url=url, migrate=True)
    health = await check(SagazRuntime(settings, sagas=[Shop], session_factory=sessionmaker()))
    assert health.healthy
    told = [line for line in health_text(health).splitlines() if line.startswith("note")]
    if kind == "sqlite":
        assert "Transactional steps (shop.charge) hold SQLite's write lock" in told[0]
    else:
        assert told == []


class _Known:
    def __init__(self, registry):
        self.registry = registry

"""What an application is told at its start of sagas that want events, and what a saga may declare."""

from __future__ import annotations

import pytest
from sagaz.core.triggers import trigger

from sagaz_durable import Saga, action
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.intake.handlers import check_served, wants_events
from sagaz_durable.webhooks.resuming import resumes
from sagaz_integration_core.errors import SagaDefinitionError, SettingsError


def registry_of(*marks):
    """A registry with a saga that has one method with each of these marks."""

    async def step(self, ctx):
        return None

    methods = {f"on_{number}": mark(lambda self, event: None) for number, mark in enumerate(marks)}
    return SagaRegistry([type("Marked", (Saga,), {"go": action("go")(step), **methods})])


def test_a_saga_that_wants_no_events_is_no_concern():
    check_served(registry_of(), ["shop"])
    assert not wants_events(registry_of())
    assert wants_events(registry_of(resumes("shop", signal="paid", key="id")))


def test_a_source_that_is_not_taken_is_refused_and_without_webhooks_nothing_is():
    registry = registry_of(resumes("shop", signal="paid", key="id"))
    with pytest.raises(
        SettingsError, match=r"Marked\.on_0 is resumed by webhooks of 'shop'.*takes those of bank, post"
    ):
        check_served(registry, ["post", "bank"])
    check_served(registry, ["shop"])
    check_served(registry, [])


@pytest.mark.parametrize("limit", ["max_concurrent", "rate_limit"])
def test_a_triggers_limit_that_webhooks_do_not_keep_is_refused(limit):
    registry = registry_of(trigger(source="shop", idempotency_key="id", **{limit: 5}))
    with pytest.raises(SettingsError, match=rf"Marked\.on_0 is a @trigger with {limit}, which is not kept"):
        check_served(registry, ["shop"])
    check_served(registry, ["bank"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"source": "", "signal": "paid", "key": "id"}, "source must be a string of 1 to 200"),
        ({"source": "shop", "signal": 5, "key": "id"}, "signal must be a string of 1 to 200"),
        ({"source": "shop", "signal": "paid"}, "give exactly one of key and saga_id"),
        ({"source": "shop", "signal": "paid", "key": "a", "saga_id": "b"}, "give exactly one of key and saga_id"),
        ({"source": "shop", "signal": "paid", "key": 5}, "the name of a member or a function, not 5"),
        ({"source": "shop", "signal": "paid", "saga_id": ""}, "the name of a member or a function"),
    ],
)
def test_what_a_saga_may_not_declare_is_refused_where_it_stands(given, told):
    with pytest.raises(SagaDefinitionError, match=told):
        resumes(given.pop("source"), **given)

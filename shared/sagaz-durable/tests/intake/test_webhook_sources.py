"""What an application is told at its start of sagas that want events, and what a saga may declare."""

from __future__ import annotations

import pytest
from sagaz.core.triggers import trigger

from sagaz_durable import Saga, action
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.intake.api import check_sources
from sagaz_durable.intake.handlers import handlers_of
from sagaz_durable.intake.served import check_served, wants_events
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import Delivery, Stripe
from sagaz_durable.workers.start_limits import limits_of
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


def test_a_source_that_no_saga_wants_is_told_of_in_the_log(caplog):
    wanted = registry_of(resumes("shop", signal="paid", key="id"), trigger(source="bank", idempotency_key="id"))
    check_served(wanted, ["shop", "bank"])
    assert caplog.text == ""
    check_served(registry_of(resumes("shop", signal="paid", key="id")), ["shop", "post"])
    [told] = caplog.records
    assert told.levelname == "WARNING"
    assert "Webhooks of 'post' are taken here, and no saga of this process wants them" in told.getMessage()


@pytest.mark.parametrize(
    ("limit", "given"),
    [
        *(("max_concurrent", given) for given in (0, -1, True, 1.5, "5")),
        *(("rate_limit", given) for given in (0, -1.0, True, float("nan"), float("inf"), "5")),
    ],
)
def test_a_triggers_limit_that_is_none_is_refused(limit, given):
    registry = registry_of(trigger(source="shop", idempotency_key="id", **{limit: given}))
    with pytest.raises(SettingsError, match=rf"Marked\.on_0 is a @trigger with {limit}={given!r}; expected"):
        check_served(registry, ["shop"])
    check_served(registry, ["bank"])


def test_a_triggers_limits_are_so_many_runs_and_starts_in_a_time():
    given = [(5, None), (None, 10), (None, 0.5), (None, 2.5), (2, 1)]
    registry = registry_of(*(trigger(source="shop", max_concurrent=most, rate_limit=rate) for most, rate in given))
    check_served(registry, ["shop"])
    assert [(limit.max_concurrent, limit.starts, limit.seconds) for limit in limits_of(registry)] == [
        (5, None, 0.0), (None, 10, 1.0), (None, 1, 2.0), (None, 2, 0.8), (2, 1, 1.0),
    ]  # fmt: skip
    assert [limit.handler for limit in limits_of(registry)] == [f"Marked.on_{n}" for n in range(5)]


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


def test_one_method_may_want_the_events_of_several_sources():
    registry = registry_of(
        lambda method: resumes("shop", signal="paid", key="a")(resumes("bank", signal="sent", key="b")(method)),
        lambda method: trigger(source="shop")(resumes("bank", signal="sent", key="b")(method)),
        lambda method: trigger(source="till")(staticmethod(method)),
        lambda method: resumes("till", signal="paid", key="a")(classmethod(method)),
    )
    wanted = {
        source: [(one.method, getattr(one.declared, "signal", None)) for one in handlers_of(registry, source)]
        for source in ("shop", "bank", "till")
    }
    assert wanted == {
        "shop": [("on_0", "paid"), ("on_1", None)],
        "bank": [("on_0", "sent"), ("on_1", "sent")],
        "till": [("on_2", None), ("on_3", "paid")],
    }


def test_one_method_cannot_mean_two_things_by_an_event():
    with pytest.raises(SagaDefinitionError, match=r"@resumes\('shop', …\) is twice on .*Write a method for each"):
        registry_of(lambda method: resumes("shop", signal="a", key="a")(resumes("shop", signal="b", key="b")(method)))
    with pytest.raises(SagaDefinitionError, match=r"Marked\.on_0 has two decorators for events of 'shop'"):
        registry_of(lambda method: trigger(source="shop")(resumes("shop", signal="b", key="b")(method)))


class Twice(Saga):
    saga_name = "twice"

    @trigger(source="shop", idempotency_key="k")
    @trigger(source="bank", idempotency_key="k")
    def on_either(self, event):
        return {}

    @action("go")
    async def go(self, ctx):
        return None


def test_a_second_trigger_that_sagaz_would_lose_is_refused():
    with pytest.raises(SagaDefinitionError, match=r"Twice\.on_either is decorated with @trigger twice"):
        SagaRegistry([Twice])


class Own:
    delivery_member = event_member = None

    def verify(self, headers, body, now):
        return Delivery(dict(headers)["X-Id"], None)


class Asynchronous(Own):
    async def verify(self, headers, body, now):
        return Delivery(None, None)


class WithoutMembers:
    def verify(self, headers, body, now):
        return Delivery(None, None)


def test_a_source_of_the_applications_own_is_checked_when_it_is_set_up():
    assert list(check_sources({"own": Own()})) == ["own"]
    with pytest.raises(SettingsError, match="The source 'own' has an async def verify; expected a def"):
        check_sources({"own": Asynchronous()})
    with pytest.raises(SettingsError, match="'own' has no delivery_member and no event_member; expected None, or"):
        check_sources({"own": WithoutMembers()})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{secret}", "webhooks of type str: expected sources by name"),
        (["{secret}"], "webhooks of type list: expected sources by name"),
        ({}, "webhooks of no source: expected sources by name"),
        ({"stripe": "{secret}"}, r"The source 'stripe' is of type str; expected StandardWebhooks\(…\)"),
        ({"stripe": ["{secret}"]}, "The source 'stripe' is of type list; expected"),
        ({"stripe": Stripe}, "The source 'stripe' is the class Stripe; expected"),
    ],
)
def test_a_secret_in_place_of_a_source_is_refused_and_not_shown(given, told):
    with pytest.raises(SettingsError, match=told) as refused:
        check_sources(given)
    assert "{secret}" not in str(refused.value)

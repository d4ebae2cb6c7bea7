"""What people are told of webhooks, and what they decide about those that are quarantined."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from webhook_shop import Mail

from sagaz_durable.cli.operator_commands import prune, webhooks
from sagaz_durable.cli.options import COMMANDS
from sagaz_durable.cli.render_health import health_text
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.operations.checking import Limits, check
from sagaz_integration_core.contract.webhooks import TOLD_OTHERWISE
from sagaz_integration_core.errors import SettingsError

ORDERED = {"id": "evt_1", "type": "ordered", "order": "o1", "card_number": "4111"}
BROKEN = {**ORDERED, "type": "broken"}


def given(**values):
    options = COMMANDS["webhooks"].options
    return {option.name: option.value(values.pop(option.name, None)) for option in options} | {"by": "ann"} | values


async def said(shop, **values):
    return await webhooks(shop.runtime, given(**values))


@pytest.fixture
def working(shop, monkeypatch):
    """Have the trigger work that raised before."""

    def mend():
        order = shop.runtime.registry.get("order").saga_class
        trigger = order.on_order

        def on_order(self, event):
            return {"order": event["order"]}

        on_order._trigger_metadata = trigger._trigger_metadata
        monkeypatch.setattr(order, "on_order", on_order)

    return mend


async def test_webhooks_are_listed_with_what_became_of_them(shop):
    await shop.deliver(ORDERED)
    await shop.deliver({"id": "evt_2", "type": "weather"})
    await shop.deliver({"id": "evt_3", "type": "paid", "payment": "o9", "amount": 1})
    lines = (await said(shop)).text.splitlines()
    assert [line.split("  ")[1].strip() for line in lines[::2]] == ["early", "ignored", "started"]
    assert "signal paid to key o9" in lines[0]
    assert f"run {(await shop.events(outcome='started'))[0].saga_id}" in lines[4]
    assert "4111" not in (await said(shop)).text
    [row] = json.loads((await said(shop, outcome="ignored", format="json")).text)
    assert (row["delivery_id"], row["handler"], "body" in row) == ("evt_2", "", False)


async def test_bodies_are_shown_masked_when_they_are_asked_for(shop):
    await shop.deliver(ORDERED)
    text = (await said(shop, body=True)).text
    assert '"order": "o1"' in text
    assert "4111" not in text
    [row] = json.loads((await said(shop, body=True, format="json")).text)
    assert row["body"]["card_number"] == "***"


async def test_a_quarantined_webhook_is_replayed_when_its_trigger_works_and_noted(shop, working):
    await shop.deliver(BROKEN)
    event = await shop.event()
    first = await said(shop, webhook_ids=[event.id], replay=True)
    assert (first.done, first.text) == (
        False,
        f"{event.id}  refused: order.on_order raised ValueError: no such product",
    )
    working()
    looked = await said(shop, all=True, replay=True, dry_run=True)
    assert (looked.done, looked.text) == (True, f"{event.id}  would be given to order.on_order again")
    replayed = await said(shop, webhook_ids=[event.id], replay=True, reason="deployed the fix")
    started = (await shop.event()).saga_id
    assert (replayed.done, replayed.text) == (True, f"{event.id}  started run {started}")
    await shop.until(started, "waiting")
    shown = (await said(shop, webhook_ids=[event.id])).text
    assert "replay by ann: quarantined → started (deployed the fix)" in shown
    again = await said(shop, webhook_ids=[event.id], replay=True)
    assert (again.done, again.text) == (False, f"{event.id}  refused: it is not quarantined, but started")


async def test_what_cannot_be_replayed_is_said(shop, monkeypatch):
    assert (await said(shop, webhook_ids=["none"], replay=True)).text == "none  refused: there is no event with this id"
    assert (await said(shop, all=True, replay=True)).text == "No quarantined webhooks."
    await shop.deliver(BROKEN)
    monkeypatch.setattr(shop.runtime, "registry", SagaRegistry([Mail]))
    gone = await said(shop, all=True, replay=True)
    assert not gone.done
    assert "order.on_order wants no events of 'shop' in this deployment" in gone.text


async def test_a_meaning_that_came_later_can_be_replayed_too(shop):
    await shop.deliver(ORDERED)
    await shop.deliver({**ORDERED, "order": "o2"})
    [event] = await shop.events(outcome="quarantined")
    assert event.reason == TOLD_OTHERWISE
    assert (await said(shop, all=True, replay=True)).done
    assert len({event.saga_id for event in await shop.events(outcome="started")}) == 2


async def test_an_ignored_webhook_is_replayed_when_a_saga_wants_it_and_noted(shop, monkeypatch):
    registry = shop.runtime.registry
    monkeypatch.setattr(shop.runtime, "registry", SagaRegistry())
    await shop.deliver({"id": "evt_1", "type": "mailed", "order": "o1"})
    event = await shop.event()
    nobody = await said(shop, webhook_ids=[event.id], replay=True)
    expected = f"{event.id}  refused: no saga wants events of 'shop' in this deployment"
    assert (nobody.done, nobody.text) == (False, expected)
    monkeypatch.setattr(shop.runtime, "registry", registry)
    assert (await said(shop, all=True, replay=True)).text == "No quarantined webhooks."
    looked = await said(shop, webhook_ids=[event.id], replay=True, dry_run=True)
    assert looked.text.startswith(f"{event.id}  would be given to mail.on_mailed_too, mail.on_order, ")
    first = await said(shop, webhook_ids=[event.id], replay=True, reason="registered it")
    again = await said(shop, webhook_ids=[event.id], replay=True)
    started = {one.saga_id for one in await shop.events(outcome="started")}
    assert first.done
    assert len(started) == 2
    assert all(f"started run {saga_id}" in said.text for saga_id in started for said in (first, again))
    assert "replay by ann: ignored → ignored (registered it)" in (await said(shop, webhook_ids=[event.id])).text


async def test_a_replayed_webhook_that_no_saga_wants_stays_ignored(shop):
    await shop.deliver({"id": "evt_2", "type": "weather"})
    event = await shop.event()
    replayed = await said(shop, webhook_ids=[event.id], replay=True)
    assert (replayed.done, replayed.text) == (True, f"{event.id}  no saga wants it")
    assert (await shop.event()).outcome == "ignored"


async def test_what_is_wrong_with_an_ignored_webhook_is_said_at_its_replay(shop, monkeypatch):
    registry = shop.runtime.registry
    monkeypatch.setattr(shop.runtime, "registry", SagaRegistry())
    await shop.deliver(BROKEN)
    event = await shop.event()
    monkeypatch.setattr(shop.runtime, "registry", registry)
    replayed = await said(shop, webhook_ids=[event.id], replay=True)
    expected = f"{event.id}  refused: order.on_order raised ValueError: no such product"
    assert (replayed.done, replayed.text) == (False, expected)
    assert [one.handler for one in await shop.events(outcome="quarantined")] == ["order.on_order"]


@pytest.mark.parametrize(
    "words",
    [
        {"replay": True},
        {"replay": True, "all": True, "webhook_ids": ["x"]},
        {"replay": True, "all": True, "outcome": "started"},
        {"replay": True, "all": True, "limit": 5},
        {"replay": True, "all": True, "body": True},
        {"all": True},
        {"dismiss": True},
        {"dismiss": True, "all": True},
        {"dismiss": True, "replay": True, "webhook_ids": ["x"]},
        *({"dismiss": True, "webhook_ids": ["x"], name: "s"} for name in ("source", "run", "outcome")),
        {"dry_run": True},
        {"reason": "because"},
        {"source": "a\0b"},
    ],
)
async def test_words_that_contradict_each_other_are_refused(shop, words):
    with pytest.raises(SettingsError):
        await said(shop, **words)


async def test_the_check_counts_quarantined_webhooks(shop):
    assert (await check(shop.runtime)).quarantined == 0
    await shop.deliver(BROKEN)
    health = await check(shop.runtime)
    assert health.quarantined == 1
    assert health.problem is not None
    assert "1 webhooks are quarantined and need a person" in health.problem
    assert "webhooks   1 quarantined" in health_text(health)
    lenient = await check(shop.runtime, Limits(max_quarantined=1))
    assert "quarantined" not in (lenient.problem or "")


async def test_a_quarantined_webhook_is_dismissed_and_check_is_quiet(shop):
    await shop.deliver(BROKEN)
    event = await shop.event()
    words = {"webhook_ids": [event.id], "dismiss": True}
    looked = await said(shop, **words, dry_run=True)
    assert (looked.done, looked.text) == (True, f"{event.id}  would be ignored")
    assert (await check(shop.runtime)).quarantined == 1
    dismissed = await said(shop, **words, reason="a test of theirs")
    assert (dismissed.done, dismissed.text) == (True, f"{event.id}  is ignored")
    assert (await check(shop.runtime)).quarantined == 0
    assert "dismiss by ann: quarantined → ignored (a test of theirs)" in (await said(shop, webhook_ids=[event.id])).text
    again = await said(shop, **words)
    assert (again.done, again.text) == (False, f"{event.id}  refused: it is not quarantined, but ignored")
    assert (
        await said(shop, webhook_ids=["none"], dismiss=True)
    ).text == "none  refused: there is no event with this id"
    await shop.deliver(BROKEN)
    assert (await shop.event()).outcome == "ignored", "what was dismissed is not quarantined again"


async def test_a_dismissed_webhook_can_be_replayed_after_all(shop, working):
    await shop.deliver(BROKEN)
    event = await shop.event()
    await said(shop, webhook_ids=[event.id], dismiss=True)
    working()
    assert (await said(shop, webhook_ids=[event.id], replay=True)).done
    assert (await shop.event()).outcome == "started"


def test_the_command_asks_for_the_right_to_write_only_when_it_decides():
    command = COMMANDS["webhooks"]
    assert [command.only_reads(given(**words)) for words in ({}, {"replay": True}, {"dismiss": True})] == [
        True, False, False,
    ]  # fmt: skip


async def test_prune_deletes_webhooks_whose_time_is_over(shop):
    await shop.deliver(ORDERED)
    await shop.deliver({"id": "evt_2", "type": "weather"})
    words = {"saga_ids": (), "contexts": False, "older_than": "1d", "status": (), "reason": "", "format": "text"}
    settings = SimpleNamespace(
        keep_webhooks_seconds=60.0, keep_ignored_webhooks_seconds=-60.0, wording=shop.runtime.settings.wording
    )
    scope = SimpleNamespace(store=shop.store, registry=shop.runtime.registry, publishes=False, settings=settings)
    for dry_run in (True, False):
        text = (await prune(scope, {**words, "by": "ann", "dry_run": dry_run})).text
        assert "and 1 webhooks whose time was over" in text
    assert [event.outcome for event in await shop.events()] == ["started"]
    kept = await prune(scope, {**words, "by": "ann", "dry_run": False, "status": ("completed",)})
    assert "webhooks" not in kept.text


@pytest.mark.parametrize("form", ["text", "json"])
async def test_an_id_that_names_no_webhook_makes_the_command_fail_and_is_told_beside_those_that_are_found(shop, form):
    await shop.deliver(ORDERED)
    [event] = await shop.events()
    answer = await said(shop, webhook_ids=[event.id, "NOSUCH"], format=form)
    assert not answer.done
    assert event.id in answer.text
    if form == "text":
        assert "There is no webhook NOSUCH in this store that matches" in answer.text
    assert (await said(shop, webhook_ids=[event.id], format=form)).done
    assert (await said(shop)).done

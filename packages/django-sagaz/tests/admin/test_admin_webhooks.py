"""Webhooks in the admin: what became of them, and who may see that."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta

import pytest
from admin_places import WEBHOOKS, kept_in, said
from django.contrib.admin.models import LogEntry

from django_sagaz.models import AuditEntry, Run, Webhook
from sagaz_integration_core.errors import StoreUnavailable

everywhere = kept_in("default", "pg", "maria")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture
def viewer(login):
    return login("viewer")


@pytest.fixture
def operator(login):
    return login("operator")


@pytest.fixture
def webhook(home):
    """Return a function that makes an event, a minute older than the one before."""
    made = []

    def webhook(outcome="started", **given):
        values = {
            "id": f"w{len(made)}",
            "source": "shop",
            "delivery_id": f"evt_{len(made)}",
            "handler": "order.on_order",
            "event_type": "order.paid",
            "received_at": NOW - timedelta(minutes=len(made)),
            "outcome": outcome,
            "fingerprint": "f",
            "body": json.dumps({"order": 5, "card_number": "4111"}),
            **given,
        }
        made.append(Webhook.objects.using(home).create(**values))
        return made[-1]

    return webhook


def shown(client, address=""):
    answer = client.get(f"{WEBHOOKS}{address}")
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


@everywhere
def test_webhooks_are_listed_newest_first_and_by_outcome(viewer, webhook):
    webhook(saga_id="run-1")
    webhook("quarantined", reason="order.on_order raised ValueError")
    webhook("early", signal="paid", key="pi_1")
    text = shown(viewer)
    assert text.index("evt_0") < text.index("evt_1") < text.index("evt_2")
    assert "paid → pi_1" in text
    quarantined = shown(viewer, "?outcome=quarantined")
    assert "order.on_order raised ValueError" in quarantined
    assert "evt_0" not in quarantined
    assert "4111" not in text


@everywhere
def test_webhooks_are_found_by_the_beginning_of_their_id_and_by_their_run(viewer, webhook):
    webhook(saga_id="run-1")
    webhook(delivery_id="msg_1")
    assert "msg_1" in shown(viewer, "?q=msg")
    assert "evt_0" not in shown(viewer, "?q=msg")
    assert "evt_0" in shown(viewer, "?q=run-1")


@everywhere
def test_the_page_of_a_webhook_leads_to_its_run_and_masks_secrets(viewer, webhook, make):
    run = make("completed")
    webhook(saga_id=run.pk)
    text = shown(viewer, "w0/change/")
    assert f"/admin/django_sagaz/run/{run.pk}/change/" in text
    assert '"order": 5' in text
    assert "4111" not in text
    assert "order.on_order" in text


@everywhere
def test_who_replayed_a_webhook_stands_on_its_page(viewer, webhook, home):
    webhook(saga_id="run-1")
    AuditEntry.objects.using(home).create(
        saga_id="webhook:w0",
        action="replay",
        actor="ann",
        reason="fixed",
        found="quarantined",
        status="started",
        at=NOW,
    )
    assert "ann: replay: quarantined → started (fixed)" in shown(viewer, "w0/change/")


@everywhere
def test_an_erased_body_is_told_as_such(viewer, webhook):
    webhook(body=None)
    assert "It was erased with its run." in shown(viewer, "w0/change/")


@kept_in("default", "pg")
def test_whatever_a_webhook_holds_is_text(viewer, webhook):
    webhook(source=HOSTILE, delivery_id=HOSTILE, event_type=HOSTILE, reason=HOSTILE, handler=HOSTILE,
        body=json.dumps({HOSTILE: HOSTILE}))  # fmt: skip
    for address in ("", "w0/change/"):
        text = viewer.get(f"{WEBHOOKS}{address}").content.decode()
        assert "<script>alert" not in text
        assert "\u202e" not in text


@kept_in("default")
@pytest.mark.parametrize(("person", "status"), [("viewer", 200), ("nobody", 403), ("blind", 403), ("anonymous", 302)])
@pytest.mark.parametrize("address", ["", "w0/change/"])
def test_webhooks_are_shown_to_those_with_the_view_permission_only(login, webhook, person, status, address, alias):
    webhook()
    assert login(person).get(f"{WEBHOOKS}{address}").status_code == status


@kept_in("default")
@pytest.mark.parametrize("address", ["?outcome=nonsense", "?body__contains=4", "none/change/"])
def test_a_wrong_address_is_no_error_of_the_server(viewer, webhook, address):
    webhook()
    assert viewer.get(f"{WEBHOOKS}{address}").status_code in (200, 302, 400)


def quarantined(webhook, home):
    body = json.dumps({"type": "ordered", "order": 5, "db": home})
    return webhook("quarantined", handler="webhook.on_order", reason="it raised ValueError", fingerprint="", body=body)


def decide(client, action, *keys, **given):
    given = {"_selected_action": keys, "decided": "yes", "reason": "the bug is mended", **given}
    return client.post(f"{WEBHOOKS}decide/{action}/", given, follow=True)


@everywhere
def test_a_quarantined_webhook_is_replayed_after_a_page_has_asked(operator, webhook, home):
    quarantined(webhook, home)
    webhook("started", saga_id="run-1")
    assert f'formaction="{WEBHOOKS}decide/replay/"' in shown(operator, "w0/change/")
    assert f'formaction="{WEBHOOKS}decide/replay/"' not in shown(operator, "w1/change/")
    asked = operator.post(WEBHOOKS, {"action": "replay", "_selected_action": ["w0", "w1"], "index": 0})
    text = html.unescape(asked.content.decode())
    assert "Replay 2 webhooks?" in text
    assert "would be given to webhook.on_order again" in text
    assert "it is not quarantined, but started" in text
    assert not Run.objects.using(home).exists()
    answer = decide(operator, "replay", "w0", "w1")
    run = Run.objects.using(home).get()
    assert said(answer) == [f"evt_0: started run {run.pk}", "evt_1: it is not quarantined, but started"]
    assert (run.saga_name, run.context["order"], run.context["known"]) == ("webhook", 5, 0)
    note = AuditEntry.objects.using(home).get()
    assert (note.saga_id, note.action, note.actor, note.reason) == (
        "webhook:w0", "replay", "operator", "the bug is mended"
    )  # fmt: skip
    assert LogEntry.objects.get(object_id="w0").get_change_message() == (
        f"Replay: started run {run.pk} (the bug is mended)"
    )
    assert "operator: replay: quarantined → started (the bug is mended)" in shown(operator, "w0/change/")


@everywhere
def test_a_quarantined_webhook_is_dismissed_with_a_reason(operator, webhook, home):
    quarantined(webhook, home)
    assert "This field is required." in decide(operator, "dismiss", "w0", reason=" ").content.decode()
    assert Webhook.objects.using(home).get().outcome == "quarantined"
    assert said(decide(operator, "dismiss", "w0")) == ["evt_0: is ignored"]
    assert Webhook.objects.using(home).get().outcome == "ignored"
    assert AuditEntry.objects.using(home).get().action == "dismiss"


@kept_in("default")
@pytest.mark.parametrize("action", ["replay", "dismiss"])
@pytest.mark.parametrize(("person", "status"), [("viewer", 403), ("nobody", 403), ("blind", 403), ("anonymous", 302)])
def test_webhooks_are_replayed_and_dismissed_by_those_with_the_permission_only(
    login, webhook, home, action, person, status, alias
):
    quarantined(webhook, home)
    client = login(person)
    given = {"_selected_action": "w0", "decided": "yes", "reason": "-"}
    assert client.post(f"{WEBHOOKS}decide/{action}/", given).status_code == status
    assert Webhook.objects.using(home).get().outcome == "quarantined"
    if person == "viewer":
        assert "decide/" not in shown(client, "w0/change/")


@kept_in("default")
@pytest.mark.parametrize("keys", [[], ["none"], ["\0"], ["x" * 300]])
def test_what_is_no_webhook_is_neither_replayed_nor_dismissed(operator, keys, alias):
    for action in ("replay", "dismiss"):
        [text] = said(decide(operator, action, *keys))
        assert text in ("Nothing was selected.", "none: there is no event with this id")
        assert operator.get(f"{WEBHOOKS}decide/{action}/").status_code == 405
    assert operator.post(f"{WEBHOOKS}decide/delete/").status_code == 404


@kept_in("default")
def test_a_store_that_is_away_keeps_webhooks_as_they_are_and_is_told(operator, webhook, home, monkeypatch, alias):
    from sagaz_durable.intake.replaying import Dismisser

    async def away(*_, **__):
        raise StoreUnavailable("Database cannot be used.")

    quarantined(webhook, home)
    monkeypatch.setattr(Dismisser, "dismiss", away)
    [text] = said(decide(operator, "dismiss", "w0"))
    assert text.startswith("Database cannot be used.")
    assert Webhook.objects.using(home).get().outcome == "quarantined"

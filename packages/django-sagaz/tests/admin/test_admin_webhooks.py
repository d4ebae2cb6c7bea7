"""Webhooks in the admin: what became of them, and who may see that."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta

import pytest
from admin_places import WEBHOOKS, kept_in

from django_sagaz.models import AuditEntry, Webhook

everywhere = kept_in("default", "pg", "maria")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture
def viewer(login):
    return login("viewer")


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

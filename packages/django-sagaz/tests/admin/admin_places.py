"""The databases that runs are kept in while the admin's own tables are in ``default``."""

from __future__ import annotations

import pytest
from places import place

RUNS = "/admin/django_sagaz/run/"
EVENTS = "/admin/django_sagaz/outboxevent/"
SIGNALS = "/admin/django_sagaz/signal/"
WEBHOOKS = "/admin/django_sagaz/webhook/"


def kept_in(*aliases):
    """Parametrize over databases."""
    return pytest.mark.parametrize("alias", [place(alias, transaction=False) for alias in aliases])


def decide(client, action, *saga_ids, follow=True, **given):
    """Decide about runs as the page that asks does."""
    data = {"_selected_action": saga_ids, "decided": "yes", "reason": "", **given}
    return client.post(f"{RUNS}decide/{action}/", data, follow=follow)


def send(client, saga_id, *, follow=True, **given):
    """Send a signal as the page that asks does."""
    data = {
        "_selected_action": saga_id,
        "decided": "yes",
        "name": "paid",
        "payload": "{}",
        "reason": "by phone",
        **given,
    }
    return client.post(f"{RUNS}signal/", data, follow=follow)


def said(answer):
    """Return the messages of a page."""
    return [str(message) for message in answer.context["messages"]]

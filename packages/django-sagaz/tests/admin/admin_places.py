"""The databases that runs are kept in while the admin's own tables are in ``default``."""

from __future__ import annotations

import html
import re

import pytest
from places import place

from sagaz_durable.problem_types import PAGE

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


_LINK = re.compile(r' <a href="([^"]*)">What this means</a>$')


def said(answer):
    """Return the messages of a page, without their links."""
    return [html.unescape(_LINK.sub("", str(message))) for message in answer.context["messages"]]


def explained(answer):
    """Return the kinds of the problems that the messages of a page link to; None for a message without a link."""
    found = [_LINK.search(str(message)) for message in answer.context["messages"]]
    return [link and link[1].removeprefix(f"{PAGE}#") for link in found]

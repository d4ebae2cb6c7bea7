"""People with different permissions."""

from __future__ import annotations

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.test import Client

_SEES = ["view_run", "view_signal", "view_outboxevent", "view_webhook"]
_DECIDES = [
    "retry_run", "cancel_run", "resolve_run", "signal_run", "run_now_run", "retry_outboxevent", "replay_webhook",
    "dismiss_webhook",
]  # fmt: skip

PERMISSIONS = {
    "nobody": [],
    "viewer": _SEES,
    "operator": [*_SEES, *_DECIDES],
    "retrier": ["view_run", "retry_run"],
    "blind": _DECIDES,
}


def log_in(name, **options):
    """Return a browser in which this person is logged in."""
    client = Client(**options)
    if name != "anonymous":
        client.force_login(person(name))
    return client


def person(name):
    if user := User.objects.filter(username=name).first():
        return user
    create_permissions(apps.get_app_config("django_sagaz"), verbosity=0)
    user = User.objects.create(username=name, is_staff=name != "customer", is_superuser=name == "superuser")
    wanted = PERMISSIONS.get(name, PERMISSIONS["operator"])
    given = Permission.objects.filter(content_type__app_label="django_sagaz", codename__in=wanted)
    assert len(given) == len(wanted)
    user.user_permissions.set(given)
    return user

"""The recipes of routes about sagas: sessions and permissions, Django REST framework, and Ninja."""

from __future__ import annotations

import sys

import pytest
from test_readme import BLOCK, HOWTO, project, run, started

[SHOWN] = [text for kind, text in BLOCK.findall(HOWTO) if kind == "python" and "watched.sagas" in text]

OTHERS = """
from importlib import import_module
from django.conf import settings
for name in settings.VIEWS:
    urlpatterns.append(path(f"{name}/sagas/", include(import_module(f"orders.{name}").sagas)))
    if name == "ninja_watched":
        urlpatterns.append(path("ninja/", import_module("orders.ninja_watched").api.urls))
"""

STORY = """
from django.contrib.auth.models import Permission, User
from django.test import Client
from django_sagaz.models import AuditEntry
call_command("migrate", run_syncdb=True, verbosity=0)

def client(name, *permissions, **options):
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    made = Client(**options)
    made.force_login(user)
    return made

ada, bob = client("ada"), client("bob")
mia = client("mia", "view_run", "cancel_run")
key = {"Idempotency-Key": "k"}
owned = "?owner=1"

def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    return answer.status_code

def order():
    answer = ada.post("/orders", headers=key)
    assert answer.status_code == 202, answer.content
    assert answer.headers["Location"] == answer.json()["location"]
    return answer.headers["Location"]
"""

PERMISSIONS = """
path = order()
assert order() == path
assert Client().get(path).status_code == 302
assert ada.get(path).json()["context"] == {"order_id": 1}
assert problem(bob.get(path)) == problem(bob.get("/sagas/none")) == problem(bob.get(f"/sagas/{owned}")) == 404
assert [run["owner"] for run in ada.get(f"/sagas/{owned}").json()["runs"]] == ["1"]
assert problem(ada.get("/sagas/")) == 404
assert len(mia.get("/sagas/").json()["runs"]) == 1
assert problem(ada.post(f"{path}/cancel")) == problem(mia.post(f"{path}/run-now")) == 404
etag = mia.get(path).headers["ETag"]
cancelled = mia.post(f"{path}/cancel", {}, "application/json", headers={"If-Match": etag})
assert cancelled.json()["status"] == "compensating"
assert [note.actor for note in AuditEntry.objects.all()] == ["mia"]
assert Client().get("/health/readiness").status_code == 200
"""

REST = """
path = f"/rest_watched{order()}"
strict = client("eva", "view_run", "cancel_run", enforce_csrf_checks=True)
assert Client().get(path).status_code == 403
assert ada.get(path).json()["owner"] == "1"
assert problem(bob.get(path)) == 404
assert ada.get(f"{path}/graph.mmd").content.startswith(b"flowchart TD")
body = {"data": {"reason": "asked"}, "content_type": "application/json"}
assert strict.post(f"{path}/cancel", **body).status_code == 403
assert mia.post(f"{path}/cancel", **body).json()["status"] == "compensating"
assert [note.reason for note in AuditEntry.objects.all()] == ["asked"]
"""

NINJA = """
ADA, BOB = ({"Authorization": f"Bearer {name}-token"} for name in ("ada", "bob"))
anybody, place = Client(enforce_csrf_checks=True), ["/ninja/orders", {"key": "k", "amount": 5}, "application/json"]
assert anybody.post(*place).status_code == 401
answer = anybody.post(*place, headers=ADA)
assert answer.status_code == 202, answer.content
path = answer.headers["Location"]
assert anybody.post(*place, headers=ADA).headers["Location"] == path
assert anybody.get(path).status_code == 401
assert anybody.get(path, headers=ADA).json()["owner"] == "ada"
assert problem(anybody.get(path, headers=BOB)) == 404
assert problem(anybody.post(f"{path}/cancel", headers=ADA)) == 404
call_command("sagaz_worker", drain=True, verbosity=0)
assert anybody.get(path, headers=ADA).json()["status"] == "completed"
"""


@pytest.mark.parametrize(
    ("view", "needs", "story"),
    [
        (None, "django", PERMISSIONS),
        ("rest_watched", "rest_framework", REST),
        ("ninja_watched", "ninja", NINJA),
    ],
    ids=["permissions", "rest", "ninja"],
)
def test_an_order_is_watched_by_its_customer_and_decided_by_an_operator(tmp_path, view, needs, story):
    pytest.importorskip(needs)
    project(tmp_path, [])
    with (tmp_path / "settings.py").open("a") as file:
        file.write(f"VIEWS = {[] if view is None else [view]}\n")
    (tmp_path / "urls.py").write_text(SHOWN + OTHERS)
    run(tmp_path, sys.executable, "-W", "ignore", "-c", started(STORY + story))

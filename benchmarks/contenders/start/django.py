"""``transaction.atomic()`` with one ``Order.objects.create`` and a start, in several ways, on PostgreSQL and SQLite."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.contenders._django import django_environment, set_up
from benchmarks.contenders.start._committers import CONTEXT, committing
from benchmarks.harness.model import Measure, Place

_APPS = {
    "procrastinate": ["procrastinate.contrib.django"],
    "django-tasks": ["django_tasks", "django_tasks_db"],
}
_TASKS = {"django-tasks": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
_COLUMNS = "saga_id, saga_name, status, context, attempt, failures, available_at, created_at, updated_at, fingerprint"
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')"}


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure the way that the options name."""
    way, notify = place.options["way"], place.options.get("notify", True)
    database = place.postgres or f"sqlite:///{place.folder}/shop.db"
    set_up(django_environment(database, _APPS.get(way, ["django_sagaz"]), {"NOTIFY": notify}, _TASKS.get(way)))
    from django.db import transaction

    from benchmarks.programs.shop.models import Order

    start = _WAYS[way](notify)

    def commit() -> None:
        with transaction.atomic():
            Order.objects.create(customer="someone", amount=3)
            start()

    at_once = (1, 4, 16) if place.postgres else (1,)
    with committing(commit, at_once) as measure:
        yield measure


def _ours(notify: bool) -> Callable[[], object]:
    from benchmarks.programs.shop.sagas import QuietSaga
    from django_sagaz import atomic_saga_start

    return lambda: atomic_saga_start(QuietSaga, CONTEXT)


def _by_hand(notify: bool) -> Callable[[], object]:
    """Do what is needed and nothing else: no check of anything, no other use of the same key."""
    from django.db import connection

    now = _NOW[connection.vendor]
    insert = (
        f"INSERT INTO sagaz_run ({_COLUMNS}) VALUES (%s, 'QuietSaga', 'pending', %s, 0, 0, {now}, {now}, {now}, %s)"
    )
    if connection.vendor == "postgresql" and notify:
        insert += " RETURNING pg_notify('sagaz_public', '')"

    def start() -> None:
        text = json.dumps(CONTEXT)
        values = [str(uuid.UUID(bytes=os.urandom(16), version=4)), text, hashlib.sha256(text.encode()).hexdigest()]
        with connection.cursor() as cursor:
            cursor.execute(insert, values)

    return start


def _orm(notify: bool) -> Callable[[], object]:
    """Write the same row by its model."""
    from django.utils import timezone

    from django_sagaz.models import Run

    def start() -> None:
        now = timezone.now()
        Run.objects.create(
            saga_id=str(uuid.uuid4()),
            saga_name="QuietSaga",
            status="pending",
            context=CONTEXT,
            attempt=0,
            failures=0,
            available_at=now,
            created_at=now,
            updated_at=now,
            fingerprint=hashlib.sha256(json.dumps(CONTEXT).encode()).hexdigest(),
        )

    return start


def _nothing(notify: bool) -> Callable[[], object]:
    return lambda: None


def _procrastinate(notify: bool) -> Callable[[], object]:
    from procrastinate.contrib.django import app

    @app.task(name="noop")
    def noop(order: dict[str, object]) -> None:
        """Do nothing."""

    return lambda: noop.defer(order=CONTEXT)


def _django_tasks(notify: bool) -> Callable[[], object]:
    from benchmarks.programs.shop.tasks import quiet

    return lambda: quiet.enqueue(CONTEXT)


_WAYS: dict[str, Callable[[bool], Callable[[], object]]] = {
    "ours": _ours,
    "hand": _by_hand,
    "orm": _orm,
    "nothing": _nothing,
    "procrastinate": _procrastinate,
    "django-tasks": _django_tasks,
}

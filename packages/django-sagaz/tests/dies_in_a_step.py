"""A process that runs a saga whose step and compensation are transactional, and kills itself at a statement of them."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import django
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

django.setup()

from testproject.shop.sagas import TillSaga  # noqa: E402

from django_sagaz import run_saga  # noqa: E402 - Django comes first

alias, at = sys.argv[1], int(sys.argv[2])
points = 0


def point():
    global points
    points += 1
    if points == at:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(execute, sql, params, many, context):
    if context["connection"].in_atomic_block:
        point()
    return execute(sql, params, many, context)


def watch(connection, **_):
    connection.execute_wrappers.append(watched)


commit = BaseDatabaseWrapper._commit


def watched_commit(connection):
    point()
    commit(connection)
    point()


BaseDatabaseWrapper._commit = watched_commit
connection_created.connect(watch, weak=False)
with suppress(ValueError):
    run_saga(TillSaga, {"db": alias}, "run-1")
connections.close_all()
sys.stdout.write(f"{points} points\n")

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
points, inside = 0, False


def point():
    global points
    points += 1
    if points == at:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(execute, sql, params, many, context):
    global inside
    # The store's own transactions are on this connection, too.
    inside = inside or sql.startswith("SAVEPOINT sagaz_step")
    if inside:
        point()
    return execute(sql, params, many, context)


def watch(connection, **_):
    connection.execute_wrappers.append(watched)


commit = BaseDatabaseWrapper._commit


def watched_commit(connection):
    global inside
    if inside:
        point()
    commit(connection)
    if inside:
        point()
    inside = False


BaseDatabaseWrapper._commit = watched_commit
connection_created.connect(watch, weak=False)
with suppress(ValueError):
    run_saga(TillSaga, {"db": alias}, "run-1")
connections.close_all()
sys.stdout.write(f"{points} points\n")

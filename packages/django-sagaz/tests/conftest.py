"""A Django project on SQLite, PostgreSQL and (in an environment of its own) MariaDB; real servers, all of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import django
import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connections, transaction
from django.db.models.signals import post_migrate

HERE = Path(__file__).parent
CORE_TESTS = HERE.parents[2] / "shared/sagaz-durable/tests"

sys.path[:0] = [str(HERE)]
sys.path.append(str(CORE_TESTS))

_servers = contextlib.ExitStack()


def pytest_configure(config):
    from pg import shared_server

    os.environ["TESTPROJECT_PG"] = _servers.enter_context(shared_server())
    # The workers of xdist inherit the name of the socket.
    if os.environ.get("SAGAZ_TEST_MARIADB") and "TESTPROJECT_MARIA" not in os.environ:
        from mariadb_server import mariadb

        os.environ["TESTPROJECT_MARIA"] = _servers.enter_context(mariadb())
    from testproject import settings

    # Not by DJANGO_SETTINGS_MODULE, which the workers of xdist would inherit, and not find.
    django_settings.configure(**{name: value for name, value in vars(settings).items() if name.isupper()})
    django.setup()
    # After each test that commits, Django would make them anew, for every model; see the fixtures of the admin's tests.
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")


def pytest_unconfigure(config):
    _servers.close()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def home(alias, settings):
    """Keep sagas in this database."""
    settings.SAGAZ = {"DATABASE": alias, "POLL_SECONDS": 0.05, "BACKOFF_SECONDS": 0.01}
    return alias


@pytest.fixture
def waiting(home):
    """The saga_id of a run that waits for ``paid`` under the key ``pi_1``."""
    from places import worked
    from testproject.shop.sagas import PaidSaga

    from django_sagaz import atomic_saga_start
    from django_sagaz.models import Run

    with transaction.atomic(home):
        saga_id = atomic_saga_start(PaidSaga, {"key": "pi_1"})
    worked()
    assert Run.objects.using(home).get().status == "waiting"
    return saga_id


@pytest.fixture
def elsewhere(home, settings):
    """Run Python, in this project and on these databases, in another process; returns the process."""
    running = []

    def start(*arguments, name=None, user=None, **sagaz):
        own = connections[home].settings_dict
        names = {home: {"NAME": str(name or own["NAME"]), "USER": own["USER"] if user is None else user}}
        values = {**settings.SAGAZ, **sagaz}
        env = {**os.environ, "TESTPROJECT_NAMES": json.dumps(names), "TESTPROJECT_SAGAZ": json.dumps(values)}
        env["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
        env["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        # With what it has forked: a reloader's child, for example.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

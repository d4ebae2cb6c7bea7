"""The databases that a test can be run on, and waiting for what other processes and threads write there."""

from __future__ import annotations

import os
import time

import pytest
from django.core.management import call_command

__all__ = ["ALIASES", "on", "place", "until", "worked"]

ALIASES = ("default", "pg", "maria")
"""SQLite in a file, PostgreSQL, MariaDB."""


def on(*aliases):
    """Parametrize over databases; one that is not there is skipped, loudly."""
    return pytest.mark.parametrize("alias", [place(alias) for alias in aliases or ALIASES])


def place(alias, *, transaction=True):
    # Without transactions of its own, a test may need what is in the first database too: users, for example.
    databases = [alias] if transaction else ["default", alias]
    marks = [pytest.mark.django_db(transaction=transaction, databases=databases)]
    if alias == "maria" and "SAGAZ_TEST_MARIADB" not in os.environ:
        marks.append(pytest.mark.skip(reason="MariaDB: apt-get install mariadb-server, and SAGAZ_TEST_MARIADB=1"))
    return pytest.param(alias, marks=marks)


def until(condition, seconds=20):
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worked():
    """Have a worker execute what is due."""
    call_command("sagaz_worker", drain=True)

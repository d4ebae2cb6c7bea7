"""The databases that a test can be run on."""

from __future__ import annotations

import os

import pytest

__all__ = ["ALIASES", "on", "place"]

ALIASES = ("default", "pg", "maria")
"""SQLite in a file, PostgreSQL, MariaDB."""


def on(*aliases):
    """Parametrize over databases; one that is not there is skipped, loudly."""
    return pytest.mark.parametrize("alias", [place(alias) for alias in aliases or ALIASES])


def place(alias):
    marks = [pytest.mark.django_db(transaction=True, databases=[alias])]
    if alias == "maria" and "SAGAZ_TEST_MARIADB" not in os.environ:
        marks.append(pytest.mark.skip(reason="MariaDB: apt-get install mariadb-server, and SAGAZ_TEST_MARIADB=1"))
    return pytest.param(alias, marks=marks)

"""A project's own tests with pytest-django and pytest-asyncio, as the how-to has them, on PostgreSQL."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest
from test_readme import FILES, environment, project

DATABASE = """
from testproject.settings import DATABASES as _databases
DATABASES = {"default": {**_databases["pg"], "NAME": "NAME_OF_ITS_OWN"}}
"""


@pytest.fixture
def tested(tmp_path):
    """Runs the tests of a project, and returns what pytest said."""
    project(tmp_path, [])
    with (tmp_path / "settings.py").open("a") as file:
        file.write(DATABASE.replace("NAME_OF_ITS_OWN", f"shop_{secrets.token_hex(4)}"))

    def tested(*names):
        for name in FILES.keys() - {"models.py", "sagas.py", "repeatable.py", "errors.py", "status.py"}:
            (tmp_path / "orders" / name).unlink()
        for name in names:
            (tmp_path / name).write_text(FILES[name])
        (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        env = environment(tmp_path) | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONWARNINGS": "default"}
        env["PYTHONPATH"] += os.pathsep + os.path.dirname(__file__)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_asynchronous.py"],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert "1 passed" in done.stdout, done.stdout + done.stderr
        return done.stdout + done.stderr

    return tested


def test_the_recipe_closes_its_connections_before_the_test_database_is_dropped(tested):
    assert "is being accessed by other users" not in tested("test_asynchronous.py", "conftest.py")


def test_without_it_the_test_database_cannot_be_dropped(tested):
    assert "is being accessed by other users" in tested("test_asynchronous.py")

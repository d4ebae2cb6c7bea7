"""A FastAPI that is newer than what was tested is an information of `check`, and nothing else."""

import importlib.metadata
import json

import fastapi
import pytest
from click.testing import CliRunner

from fastapi_sagaz.cli import main

APP = """
from fastapi import FastAPI
from fastapi_sagaz import create_lifespan
app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}))
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    (tmp_path / "checked_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda: CliRunner().invoke(main, ["check", "checked_app:app", "--format", "json"])


def test_check_tells_of_a_fastapi_that_is_newer_than_what_was_tested(check, monkeypatch):
    tested = importlib.metadata.version("fastapi-sagaz")
    monkeypatch.setattr(fastapi, "__version__", "0.999.1")
    said = check()
    assert f"FastAPI 0.999.1 is newer than {tested.rpartition('.')[0]}" in said.stderr
    assert json.loads(said.stdout)["healthy"]
    assert said.exit_code == 0


@pytest.mark.parametrize("older", ["0.121.0", importlib.metadata.version("fastapi-sagaz")])
def test_check_says_nothing_of_one_that_was_tested(check, monkeypatch, older):
    monkeypatch.setattr(fastapi, "__version__", older)
    # Before 8.2, click's runner does not keep the two apart.
    assert "newer" not in check().output

"""A FastAPI that is newer than what was tested is an information of `check`, and nothing else."""

import importlib.metadata
import json

import fastapi
import pytest

from fastapi_sagaz.cli import main

APP = """
from fastapi import FastAPI
from fastapi_sagaz import create_lifespan
app = FastAPI(lifespan=create_lifespan({"STORAGE_URL": "memory://"}))
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    (tmp_path / "checked_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run():
        # Not click's own runner: before 8.2, it does not keep the two streams apart.
        with pytest.raises(SystemExit) as ended:
            main(["check", "checked_app:app", "--format", "json"])
        return ended.value.code, *capsys.readouterr()

    return run


def test_check_tells_of_a_fastapi_that_is_newer_than_what_was_tested(check, monkeypatch):
    tested = importlib.metadata.version("fastapi-sagaz")
    monkeypatch.setattr(fastapi, "__version__", "0.999.1")
    exit_code, stdout, stderr = check()
    assert f"FastAPI 0.999.1 is newer than {tested.rpartition('.')[0]}" in stderr
    assert json.loads(stdout)["healthy"]
    assert exit_code == 0


@pytest.mark.parametrize("older", ["0.121.0", importlib.metadata.version("fastapi-sagaz")])
def test_check_says_nothing_of_one_that_was_tested(check, monkeypatch, older):
    monkeypatch.setattr(fastapi, "__version__", older)
    _, stdout, stderr = check()
    assert "newer" not in stdout + stderr

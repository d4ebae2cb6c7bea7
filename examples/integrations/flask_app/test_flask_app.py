"""Runs the commands of the README against the application, under Flask's own server and gunicorn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.example_cases import ExampleCases, served

HERE = Path(__file__).resolve().parent

SERVERS = {
    "flask": ["flask", "--app", "main", "run", "--port", "PORT"],
    "gunicorn": ["gunicorn", "--threads", "8", "--bind", "127.0.0.1:PORT", "main:app"],
}


@pytest.fixture(params=SERVERS)
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with served(HERE, tmp_path, SERVERS[request.param]) as address:
        yield address


@pytest.fixture
def readme() -> str:
    return (HERE / "README.md").read_text()


class TestExample(ExampleCases):
    """The story of the README, and what is beside it."""

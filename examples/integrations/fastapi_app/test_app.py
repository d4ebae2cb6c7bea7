"""Runs the commands of the README against the application, served by uvicorn, and compares the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.example_cases import ExampleCases, served

HERE = Path(__file__).resolve().parent

SERVER = ["uvicorn", "main:app", "--port", "PORT", "--log-level", "warning"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with served(HERE, tmp_path, SERVER) as address:
        yield address


@pytest.fixture
def readme() -> str:
    return (HERE / "README.md").read_text()


class TestExample(ExampleCases):
    """The story of the README, and what is beside it."""

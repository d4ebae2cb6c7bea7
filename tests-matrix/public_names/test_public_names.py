"""The fourth plugin and the fifth store use what anybody else may use, and are as short as they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.public_names import private_uses

MATRIX = Path(__file__).resolve().parents[1]
PLUGIN, STORE = sorted((MATRIX / "bare_sagaz").glob("*.py")), sorted((MATRIX / "file_store").glob("*.py"))


@pytest.mark.parametrize("file", PLUGIN + STORE, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_plugin_and_the_store_use_public_names_only(file: Path) -> None:
    assert private_uses(file.read_text()) == []


def test_the_plugin_is_at_most_150_lines() -> None:
    assert 0 < sum(len(file.read_text().splitlines()) for file in PLUGIN) <= 150


@pytest.mark.parametrize(
    "program",
    [
        "from sagaz_durable._upstream import imports",
        "from sagaz_durable.stores.memory.store import MemoryStore",
        "from sagaz_durable.sagas import _Sagas",
        "from sagaz_durable.runtime.runtime import asyncio",
        "import sagaz_durable.stores.memory",
        "runtime._open(None)",
    ],
)
def test_a_private_name_is_found(program: str) -> None:
    assert len(private_uses(program)) == 1


def test_public_and_own_names_are_not_complained_about() -> None:
    program = "from sagaz_durable.sagas import Sagas\nimport asyncio\nself._mine = Sagas(runtime)\nsuper().__init__()"
    assert private_uses(program) == []

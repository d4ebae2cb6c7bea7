"""The page about sagaz says of every public name of the sagaz that is installed what becomes of it here."""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import sagaz
from sagaz.core.triggers import trigger

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sagaz.md"
TABLE = PAGE.read_text().partition("## Every public name")[2]
HERE = {"works", "differs", "refused", "apart"}

COMMANDS = ("sagaz.cli", "sagaz.examples", "sagaz.__main__")
"""A program, and what it copies into projects: nobody imports them."""


def rows() -> list[tuple[list[str], str]]:
    """The names of each row, and what the page says of them."""
    lines = [line.split(" | ") for line in TABLE.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", first), here.strip()) for first, here, *_ in lines]


def modules() -> Iterator[ModuleType]:
    yield sagaz
    for found in pkgutil.walk_packages(sagaz.__path__, "sagaz."):
        private = any(part.startswith("_") for part in found.name.split("."))
        if not private and not found.name.startswith(COMMANDS):
            yield importlib.import_module(found.name)


IN_PLACE_OF_PROMETHEUS = {"Counter", "Histogram"}
"""What sagaz defines where that is not installed."""


def exported() -> dict[str, object]:
    """What modules name in ``__all__``, and what else they define under a public name."""
    found: dict[str, object] = {}
    for module in modules():
        found |= {name: getattr(module, name) for name in getattr(module, "__all__", ())}
        found |= {name: value for name, value in vars(module).items() if _is_defined_in(module, value)}
    return {
        name: value for name, value in found.items()
        if not name.startswith("_") and name not in IN_PLACE_OF_PROMETHEUS
    }  # fmt: skip


def _is_defined_in(module: ModuleType, value: object) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def members(kind: type) -> set[str]:
    return {f"{kind.__name__}.{name}" for name in dir(kind) if not name.startswith("_")}


def arguments(function: object, name: str = "") -> set[str]:
    given = inspect.signature(function).parameters  # type: ignore[arg-type]
    return {f"{name or function.__name__}({one})" for one in given if not one.startswith("_")}  # type: ignore[attr-defined]


def public() -> set[str]:
    names = set(exported())
    for value in exported().values():
        if isinstance(value, enum.EnumMeta):
            names |= {f"{value.__name__}.{one}" for one in value.__members__}
    names |= members(sagaz.Saga) | members(sagaz.SagaListener)
    for method in (sagaz.Saga.run, sagaz.Saga.add_step):
        names |= arguments(method, method.__qualname__) - {f"{method.__qualname__}(self)"}
    for decorator in (sagaz.compensate, sagaz.forward_recovery, trigger):
        names |= arguments(decorator)
    return names | arguments(sagaz.action, "action") | (arguments(sagaz.SagaConfig) - {"SagaConfig(listeners)"})


def test_the_page_names_everything_that_sagaz_makes_public_and_nothing_else():
    named = [name for names, _ in rows() for name in names]
    assert sorted(public() - set(named)) == [], "say in docs/sagaz.md what becomes of these here"
    assert sorted(set(named) - public()) == [], "the installed sagaz has no such names"
    assert len(named) == len(set(named)), "each name has one row"


def test_each_name_works_differs_is_refused_or_stands_apart():
    assert {here for _, here in rows()} <= HERE


def test_the_walk_sees_what_a_release_could_add(monkeypatch):
    class Action(enum.Enum):
        NEW = 1

    before = public()
    monkeypatch.setattr(sagaz, "Action", Action, raising=False)
    monkeypatch.setattr(sagaz, "__all__", [*sagaz.__all__, "Action"])
    monkeypatch.setattr(sagaz.Saga, "pause", lambda self: None, raising=False)
    assert public() - before == {"Action", "Action.NEW", "Saga.pause"}

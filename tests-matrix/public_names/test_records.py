"""Every record is made as the dataclass of its fields would be: by the same arguments, with the same defaults."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, asdict, field, fields, is_dataclass, make_dataclass, replace
from types import ModuleType
from typing import Any

import pytest

import fastapi_sagaz
import flask_sagaz
import sagaz_durable
import sagaz_integration_core
from sagaz_integration_core.contract import record as records_module
from sagaz_integration_core.contract.record import record

PACKAGES = (sagaz_integration_core, sagaz_durable, fastapi_sagaz, flask_sagaz)
"""Django's modules are imported within a project only; its records are made by the same function."""

APART = ("sagaz_durable.testing", "sagaz_durable.celery", "flask_sagaz.celery")
"""Tests, and what needs an extra to be imported."""


@record
class Nothing:
    """A record without fields."""


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(APART) and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def records() -> dict[str, type[Any]]:
    found = [Nothing, *(one for module in modules() for one in vars(module).values() if is_dataclass(one))]
    kinds = [one for one in found if isinstance(one, type) and one.__repr__ is Nothing.__repr__]
    return {f"{one.__module__}.{one.__qualname__}": one for one in kinds}


def parts_of(made: Any) -> list[object]:
    """Its values; of one that was made for it, the class."""
    parts = [(one, getattr(made, one.name)) for one in fields(made)]
    return [value if one.default_factory is MISSING else type(value) for one, value in parts]


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in sorted(records().items())])
def test_a_record_is_made_by_what_its_dataclass_is_made_by(kind):
    parts = fields(kind)
    dataclass = make_dataclass(kind.__name__, [(one.name, one.type, one) for one in parts])
    values = {one.name: object() for one in parts}
    needed = [values[one.name] for one in parts if one.default is one.default_factory is MISSING]
    for args, named in [(values.values(), {}), ((), values), (needed, {})]:
        assert parts_of(kind(*args, **named)) == parts_of(dataclass(*args, **named))
    for one in (kind, dataclass):
        with pytest.raises(TypeError, match="positional argument"):
            one(*values.values(), object())


def test_dataclasses_are_asked_when_fields_are_and_not_for_a_class_or_its_records(monkeypatch):
    monkeypatch.setattr(records_module, "dataclass", None)

    @record
    class Point:
        """Where something is."""

        x: int
        tags: list[str] = field(default_factory=list)

    point = Point(1)
    assert (point.x, point.tags, Point(2).tags is point.tags) == (1, [], False)
    assert not hasattr(point, "__dict__")
    monkeypatch.undo()
    assert [one.name for one in fields(Point)] == ["x", "tags"]
    assert (replace(point, x=2), asdict(point)) == (Point(2), {"x": 1, "tags": []})
    match point:
        case Point(x, tags):
            # What copy.replace calls, from Python 3.13 on.
            assert point.__replace__(x=x + 1, tags=tags) == Point(2)
    assert (hash(Nothing()), repr(point)) == (hash(()), f"{Point.__qualname__}(x=1, tags=[])")


def test_threads_that_ask_for_fields_at_the_same_time_all_have_them(monkeypatch):
    @record
    class Point:
        """Where something is."""

        x: int = 0
        tags: list[str] = field(default_factory=list)

    ask, met = records_module.dataclass, threading.Barrier(4)

    def meeting(**options):
        met.wait(20)
        return ask(**options)

    monkeypatch.setattr(records_module, "dataclass", meeting)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: fields(Point), range(4))]
    assert [[one.default_factory for one in each] for each in found] == [[MISSING, list]] * 4

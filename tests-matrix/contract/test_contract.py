"""Every case against every driver on every store: what is not there is skipped, and says why."""

from __future__ import annotations

import pytest

from contract.case import Case
from contract.cases import CASES
from contract.drivers import DRIVERS, load
from contract.site import Site

STORES = ("memory", "sqlite", "postgres")

MATRIX = [
    pytest.param(driver, store, case, id=f"{driver}-{store}-{theme}-{case.name}")
    for driver in DRIVERS
    for store in STORES
    for theme, cases in CASES.items()
    for case in cases
    if store in case.stores
]


@pytest.mark.parametrize(("driver", "store", "case"), MATRIX)
async def test_contract(driver: str, store: str, case: Case, prepared) -> None:
    kind = _driver(driver)
    if store not in kind.stores:
        pytest.skip(f"{driver} is not made for the {store} store")
    if missing := sorted(case.needs - kind.capabilities):
        pytest.skip(f"{driver} has no {', '.join(missing)}")
    await case(Site(kind, await prepared(kind, store), **case.site))


def _driver(name: str) -> type:
    try:
        return load(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"the {name} driver needs a module that is not installed: {error.name}")


def test_case_names_are_unique_within_a_theme() -> None:
    for theme, cases in CASES.items():
        names = [case.name for case in cases]
        assert len(names) == len(set(names)), theme

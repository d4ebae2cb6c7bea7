"""How cases are declared: a function, what it needs of a framework, and the stores that it makes sense on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from contract.driver import CAPABILITIES
from contract.site import Site

__all__ = ["ALL", "DURABLE", "Case", "case", "cases_of", "variants"]

ALL = ("memory", "sqlite", "postgres")
DURABLE = ("sqlite", "postgres")
"""Stores whose runs outlive the application, and that a second application can share."""

Body = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One thing that a user may rely on; its name says which.

    Attributes:
        started: Whether the case is handed a started site, or starts it itself.
        site: What the site is built with; see `Site`.
        given: Arguments for the case, of a case that comes in variants.
    """

    name: str
    body: Body
    needs: frozenset[str]
    stores: tuple[str, ...]
    started: bool
    site: dict[str, Any]
    given: tuple[Any, ...] = ()

    async def __call__(self, site: Site) -> None:
        if not self.started:
            await self.body(site, *self.given)
            return
        async with site:
            await self.body(site, *self.given)


def case(*needs: str, stores: tuple[str, ...] = ALL, started: bool = True, **site: Any) -> Callable[[Body], Case]:
    """Declare a case; ``site`` is what its site is built with."""
    assert set(needs) <= CAPABILITIES.keys(), needs

    def declare(body: Body) -> Case:
        return Case(body.__name__, body, frozenset(needs), stores, started, site)

    return declare


def variants(**given: tuple[Any, ...]) -> Callable[[Case], list[Case]]:
    """Make one case of each set of arguments; the keyword becomes part of the name."""

    def vary(one: Case) -> list[Case]:
        return [replace(one, name=f"{one.name}__{label}", given=values) for label, values in given.items()]

    return vary


def cases_of(namespace: dict[str, Any]) -> list[Case]:
    """Return what a module declared, in order."""
    found = []
    for value in namespace.values():
        if isinstance(value, Case):
            found.append(value)
        elif isinstance(value, list) and value and all(isinstance(item, Case) for item in value):
            found.extend(value)
    return found

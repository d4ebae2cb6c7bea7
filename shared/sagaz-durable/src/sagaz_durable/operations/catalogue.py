"""Listing sagas and migrating, in the same words whatever framework the command is given in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from sagaz_durable.stores.factory import create_store
from sagaz_durable.stores.factory import migrate as migrate_tables
from sagaz_integration_core.contract.record import record

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.graph import StepNode
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["SagaListing", "as_json", "list_sagas", "list_text", "migrate"]


class HasRegistry(Protocol):
    """What knows sagas; a runtime, for example."""

    @property
    def registry(self) -> SagaRegistry:
        """The sagas that are known."""
        ...


@record
class SagaListing:
    """One registered saga: its name, where its class is, and its steps in an order in which they can run."""

    name: str
    path: str
    steps: tuple[StepNode, ...]


def list_sagas(known: HasRegistry) -> list[SagaListing]:
    """Return the sagas that are registered, by name."""
    return [
        SagaListing(entry.name, _path(entry.saga_class), tuple(entry.graph.nodes.values())) for entry in known.registry
    ]


def _path(saga_class: type[Any]) -> str:
    return f"{saga_class.__module__}.{saga_class.__qualname__}"


def list_text(sagas: Sequence[SagaListing], hint: str) -> str:
    """Render a listing for people.

    Args:
        hint: Where sagas are registered, for an empty listing.
    """
    if not sagas:
        return f"No saga is registered. Add the classes to {hint}."
    return "\n\n".join(
        "\n".join([f"{saga.name}  ({saga.path})", *_steps(saga.steps), *_undeclared(saga.steps)]) for saga in sagas
    )


def _steps(steps: Sequence[StepNode]) -> list[str]:
    width = max((len(step.name) for step in steps), default=0)
    return [f"  {step.name:<{width}}  {_step(step)}".rstrip() for step in steps]


def _step(step: StepNode) -> str:
    parts = [f"after {', '.join(step.depends_on)}"] if step.depends_on else []
    parts += [step.effect] if step.effect else []
    undo = f"compensated ({step.undo_effect})" if step.undo_effect else "compensated"
    parts += [f"{undo}{' by a person' if step.manual else ''}"] if step.compensated else []
    parts += ["pivot"] if step.pivot else []
    parts += ["recovered"] if step.recovered else []
    return "; ".join(parts)


def _undeclared(steps: Sequence[StepNode]) -> list[str]:
    """Tell of which steps nothing is declared; that is no problem: they are called at least once."""
    names = [step.name for step in steps if step.effect is None]
    names += [f"undo of {step.name}" for step in steps if step.compensated and step.undo_effect is None]
    return [f"  (no effect declared: {', '.join(names)})"] if names else []


async def migrate(runtime: SagazRuntime) -> str:
    """Bring the tables of a runtime's store up to date, which need not be open, and tell what was done.

    Raises:
        StoreUnavailable: The store cannot be reached, or the user may not create tables.
    """
    store = create_store(runtime.settings)
    if store.kind != "postgres":
        return f"Nothing to migrate: the {store.kind} store makes its own tables."
    done = await migrate_tables(runtime.settings)
    return f"Migrated: {', '.join(done)}." if done else "Nothing to migrate: the tables are up to date."


def as_json(sagas: Sequence[SagaListing]) -> str:
    """Render a listing for programs; the keys are the attributes' names."""
    return json.dumps([asdict(saga) for saga in sagas], indent=2)

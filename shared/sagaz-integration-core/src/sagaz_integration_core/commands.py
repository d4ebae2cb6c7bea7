"""What the commands of all plugins find out and say: the same words, whatever framework they are given in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sagaz_integration_core.errors import StoreNotMigrated, StoreUnavailable
from sagaz_integration_core.records import StoreStats
from sagaz_integration_core.redaction import redact
from sagaz_integration_core.stores import create_store
from sagaz_integration_core.texts import visible

if TYPE_CHECKING:
    from sagaz_integration_core._upstream.definitions import StepInfo
    from sagaz_integration_core.lifecycle import SagazRuntime

__all__ = ["Health", "SagaListing", "as_json", "check", "check_text", "list_sagas", "list_text", "migrate"]

_PATIENCE = 60.0
"""Seconds for which a due run may find no worker, as while a deployment replaces its processes."""


@dataclass(frozen=True, slots=True)
class SagaListing:
    """One registered saga: its name, where its class is, and its steps in an order in which they can run."""

    name: str
    path: str
    steps: tuple[StepInfo, ...]


def list_sagas(runtime: SagazRuntime) -> list[SagaListing]:
    """Return the sagas that are registered, by name."""
    from sagaz_integration_core._upstream.definitions import describe

    return [
        SagaListing(entry.name, _path(entry.saga_class), tuple(describe(entry.saga_class)))
        for entry in runtime.registry
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
    return "\n\n".join("\n".join([f"{saga.name}  ({saga.path})", *_steps(saga.steps)]) for saga in sagas)


def _steps(steps: Sequence[StepInfo]) -> list[str]:
    width = max((len(step.name) for step in steps), default=0)
    return [f"  {step.name:<{width}}  {_step(step)}".rstrip() for step in steps]


def _step(step: StepInfo) -> str:
    parts = [f"after {', '.join(step.depends_on)}"] if step.depends_on else []
    parts += ["compensated"] if step.compensated else []
    parts += ["pivot"] if step.pivot else []
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Health:
    """What `check` found.

    Attributes:
        store: The store's address without its password, or its kind.
        reachable: Whether it answered.
        migrated: Whether its tables are those that this release needs.
        stats: The figures, if it answered.
        problem: What a person has to look at; None when all is well.
    """

    store: str
    reachable: bool
    migrated: bool
    stats: StoreStats | None
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Whether runs can be started, somebody executes them, and no threshold that was given is passed."""
        return self.problem is None


async def check(runtime: SagazRuntime, *, max_age: float | None = None, max_failed: int | None = None) -> Health:
    """Look at a runtime's store; one that is not open is opened for that, and closed.

    Args:
        max_age: Seconds for which the oldest due run may wait, even while workers are alive.
        max_failed: How many failed runs, which need a person, are no problem; without, any number.
    """
    was_open = runtime.is_open
    try:
        if not was_open:
            await runtime.open()
        stats = await runtime.store.stats()
    except StoreNotMigrated as error:
        return Health(_address(runtime), True, False, None, str(error))
    except StoreUnavailable as error:
        return Health(_address(runtime), False, False, None, str(error))
    finally:
        if not was_open:
            await runtime.close()
    return Health(_address(runtime), True, True, stats, _problem(stats, max_age, max_failed))


def _address(runtime: SagazRuntime) -> str:
    explicit = "storage_url" in runtime.settings.explicit
    return redact(runtime.settings.storage_url) if explicit else runtime.store.kind


def _problem(stats: StoreStats, max_age: float | None, max_failed: int | None) -> str | None:
    problems = []
    age = stats.oldest_due_age or 0.0
    if stats.due and not stats.live_workers and age >= _PATIENCE:
        problems.append(
            f"{stats.due} runs are due, the oldest for {age:.0f} s, and no worker is alive. Start the worker command, "
            "or let the application run one."
        )
    elif max_age is not None and age > max_age:
        problems.append(f"{stats.due} runs are due, the oldest for {age:.0f} s; at most {max_age:g} s was asked for.")
    if max_failed is not None and (failed := stats.counts["failed"]) > max_failed:
        problems.append(
            f"{failed} runs have failed and need a person; at most {max_failed} was asked for. See list --runs "
            "--status failed."
        )
    return " ".join(problems) or None


def check_text(health: Health) -> str:
    """Render what `check` found for people."""
    lines = [("store", health.store), ("reachable", _yes(health.reachable)), ("tables", _tables(health))]
    if (stats := health.stats) is not None:
        age = "" if stats.oldest_due_age is None else f", the oldest for {stats.oldest_due_age:.1f} s"
        lines += [
            ("runs", ", ".join(f"{count} {status}" for status, count in stats.counts.items())),
            ("due", f"{stats.due}{age}"),
            ("workers", f"{stats.live_workers} alive"),
        ]
    if health.store.startswith("memory"):
        lines.append(("note", "each process has a memory of its own; this is not what the server runs"))
    lines.append(("problem", health.problem or "none"))
    return "\n".join(visible(f"{name:<10} {value}") for name, value in lines)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tables(health: Health) -> str:
    if health.migrated:
        return "up to date"
    return "missing or old" if health.reachable else "unknown"


async def migrate(runtime: SagazRuntime) -> str:
    """Bring the tables of a runtime's store up to date, which need not be open, and tell what was done.

    Raises:
        StoreUnavailable: The store cannot be reached, or the user may not create tables.
    """
    store = create_store(runtime.settings)
    if store.kind != "postgres":
        return f"Nothing to migrate: the {store.kind} store makes its own tables."
    from sagaz_integration_core.stores.postgres import migrate

    done = await migrate(runtime.settings)
    return f"Migrated: {', '.join(done)}." if done else "Nothing to migrate: the tables are up to date."


def as_json(value: Health | Sequence[SagaListing]) -> str:
    """Render a result for programs; the keys are the attributes' names, and a `Health` also has ``healthy``."""
    if isinstance(value, Health):
        return json.dumps({**asdict(value), "healthy": value.healthy}, indent=2)
    return json.dumps([asdict(saga) for saga in value], indent=2)

"""What a runtime gives to the runs that it executes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sagaz_durable._upstream.mirror import Mirror
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.concurrency.held_writes import HeldWrites
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.leases.leases import Leases
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import RunWrite
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["ExecutionEnvironment"]


@dataclass(slots=True)
class ExecutionEnvironment:
    """What the executions of all runs of a process share.

    Attributes:
        mirror: Saves runs to the user's own sagaz storage too.
        listeners: sagaz's listeners, which runs notify.
        steps: What calls of steps share.
        write: Commits a journal write together with those of other runs.
        publishes: Whether steps and outcomes are written to the outbox.
    """

    settings: Settings
    store: SagaStore
    registry: SagaRegistry
    leases: Leases
    mirror: Mirror
    listeners: Sequence[Any]
    steps: StepEnvironment
    write: Callable[[RunWrite], Awaitable[bool | None]]
    held_writes: HeldWrites
    publishes: bool

    @property
    def owner(self) -> str:
        """Under which this process holds its leases."""
        return self.leases.owner

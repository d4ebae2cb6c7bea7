"""Which calls of a run are made inside of a transaction, and what each of them leaves in the journal."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from sagaz_durable._upstream.instances import Prepared
from sagaz_durable.calls.foreign import is_unread
from sagaz_durable.calls.step_environment import StepEnvironment
from sagaz_durable.calls.step_result import Given, Recordable, Tried, not_awaited, recordable
from sagaz_durable.calls.transactional import TransactionalCall
from sagaz_durable.leases.lease import Lease
from sagaz_durable.outbox.run_events import EventLog
from sagaz_integration_core.contract.events import EventWrite
from sagaz_integration_core.contract.records import Phase, RunWrite

__all__ = ["Journal", "TransactionalCalls"]


class Journal(Protocol):
    """What is asked of the journal of a run."""

    patience: float

    def end_of(
        self, step: str, phase: Phase, result: str | None, events: tuple[EventWrite, ...], *, compensated: bool = False
    ) -> RunWrite:
        """Return what records beginning and end of a call at once."""
        ...

    def may_owe(self, step: str) -> bool:
        """Whether an earlier call of a step may have had an effect for which there was a compensation."""
        ...

    async def settled(self) -> None:
        """Return when no transaction of an earlier connection can change the journal any more."""
        ...


class TransactionalCalls:
    """The transactional calls of one run.

    Nothing is journaled of one before its commit. So what a run finds of it in its journal is the whole truth: it is
    done, or it never happened.

    Args:
        prepared: Its saga.
        journal: Where their ends are recorded, and looked up after a commit without an answer.
    """

    def __init__(
        self, prepared: Prepared, environment: StepEnvironment, lease: Lease, journal: Journal, events: EventLog
    ) -> None:
        self._prepared = prepared
        self._environment = environment
        self._lease = lease
        self._journal = journal
        self._events = events

    def of(self, step: str, phase: Phase) -> TransactionalCall | None:
        """Return what makes a call; None for one that is not transactional."""
        node = self._prepared.graph.nodes[step]
        if (node.effect if phase == "do" else node.undo_effect) != "transactional":
            return None
        environment = self._environment
        return TransactionalCall(
            f"Step {step!r}" if phase == "do" else f"The compensation of step {step!r}",
            environment.transactions,
            environment.store,
            self._lease,
            partial(self._done, step) if phase == "do" else partial(self._undone, step),
            self._is_recorded,
            self._journal.patience,
        )

    def _done(self, step: str, value: Any, given: Given) -> tuple[Recordable, RunWrite]:
        tried, environment = Tried(value, None, given.context, given.before, False), self._environment
        kept = recordable(step, tried, self._prepared, self._events, environment.max_bytes, environment.wording)
        if isinstance(kept, Exception):
            raise kept
        compensated = self._prepared.graph.nodes[step].compensated or self._journal.may_owe(step)
        return kept, self._journal.end_of(step, "do", kept.text, kept.events, compensated=compensated)

    def _undone(self, step: str, value: Any, given: Given) -> tuple[Recordable, RunWrite]:
        if is_unread(value):
            raise not_awaited(f"The compensation of step {step!r}", value)
        kept = Recordable(None, self._events.step_undone(step))
        return kept, self._journal.end_of(step, "undo", None, kept.events)

    async def _is_recorded(self, write: RunWrite) -> bool:
        await self._journal.settled()
        end, found = write.steps[-1], await self._environment.store.load_steps(write.saga_id)
        return any(
            (one.step, one.phase, one.status, one.attempt) == (end.step, end.phase, end.status, write.attempt)
            for one in found
        )

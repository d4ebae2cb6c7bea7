"""What stands between `SagaStore` and the operations of a database, the same for every database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from functools import update_wrapper
from types import CoroutineType
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from sagaz_durable.stores.foreign_rows import correlation_id_of, taken
from sagaz_durable.stores.wakeup import WakeUp
from sagaz_durable.stores.wanted_runs import Wanted
from sagaz_integration_core.contract.decisions import Intervention
from sagaz_integration_core.contract.events import NewEvent
from sagaz_integration_core.contract.records import ClaimedRun, FirstSteps, Inserted, NewRun, RunWrite
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.contract.webhooks import NewWebhook, StartLimit, WebhookRecord

__all__ = ["Answer", "BaseStore", "does"]

P = ParamSpec("P")
T = TypeVar("T")

Answer: TypeAlias = "CoroutineType[Any, Any, T]"
"""What the method of a class returns that is defined with ``async def``."""


def does(work: Callable[..., object], method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Answer[T]]:
    """Return a store's method that does an operation, with the operation's name and documentation."""
    update_wrapper(method, work)
    # For pyright an ``async def`` returns a CoroutineType, for mypy a Coroutine, which is less.
    return cast("Callable[P, Answer[T]]", method)


class BaseStore(ABC):
    """Wakes those who wait for runs when a call has made some due; what the calls do is its subclass's.

    A subclass implements what is abstract here and the rest of `SagaStore`, mostly by naming for each method the
    operation that does it: ``load = _reads(reads.load)``. Whoever annotates it as a `SagaStore` has its type checker
    compare all of them with the contract, which has their documentation, too.
    """

    def __init__(self) -> None:
        self._wakeup = WakeUp()

    @abstractmethod
    def check(self) -> None:
        """Refuse the use of a store that is not open here.

        Raises:
            StoreUnavailable: Saying why.
        """

    @abstractmethod
    async def insert_runs(self, /, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction."""

    @abstractmethod
    async def claim_runs(self, /, owner: str, limit: int, lease_seconds: float, wanted: Wanted) -> list[ClaimedRun]:
        """Lease runs that are due, or whose lease has ended."""

    @abstractmethod
    async def write_runs(self, /, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one transaction."""

    @abstractmethod
    async def carry_out(self, /, change: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""

    @abstractmethod
    async def save_row(
        self, /, saga_id: str, saga_name: str, status: str, context: str, correlation_id: str | None
    ) -> bool:
        """Insert or update a row of sagaz's own engine; False when a run of ours has this saga_id."""

    @abstractmethod
    async def add_signals(self, /, signals: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one transaction; an answer for each."""

    @abstractmethod
    async def add_events(self, /, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one transaction; False for each that was there already."""

    @abstractmethod
    async def record_webhook(self, /, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
        """Record one delivery of an event, with what it leads to, in one transaction."""

    @abstractmethod
    async def redo_webhook(self, /, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
        """Do what a quarantined or ignored event leads to now, and note whose decision it was."""

    @abstractmethod
    async def release_delayed(self, /, limit: StartLimit) -> int:
        """Start the runs of a trigger's delayed events as far as there is room, in one transaction; return how many."""

    @abstractmethod
    async def revive_events(self, /, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again; return which of them were dead."""

    async def open(self) -> None:
        """Belong to the running event loop."""
        self._wakeup.bind()

    async def wait(self, seconds: float) -> None:
        """Return when this process made runs due, at the latest after ``seconds``: other processes' are polled for."""
        self.check()
        await self._wakeup.wait(seconds)

    def wake(self) -> None:
        """Make `wait` return now; callable from any thread."""
        self._wakeup.wake()

    def wake_own(self) -> None:
        """Make `wait` return after a commit of this store; not needed where the database tells of each commit."""
        self.wake()

    async def insert(self, runs: Sequence[NewRun], lease_seconds: float) -> list[Inserted]:
        """Insert runs in one transaction."""
        inserted = await self.insert_runs(runs, lease_seconds)
        if any(run.lease_owner is None for run in runs):
            self.wake_own()
        return inserted

    async def claim(
        self,
        owner: str,
        limit: int,
        lease_seconds: float,
        sagas: FirstSteps,
        *,
        saga_ids: Sequence[str] | None = None,
        alone: bool = False,
    ) -> list[ClaimedRun]:
        """Lease runs that are due, or whose lease has ended."""
        return await self.claim_runs(owner, limit, lease_seconds, Wanted(sagas, saga_ids, alone))

    async def write(self, writes: Sequence[RunWrite]) -> list[bool | None]:
        """Commit all writes in one transaction."""
        answers = await self.write_runs(writes)
        if any(write.release is not None for write in writes):
            self.wake_own()
        return answers

    async def intervene(self, intervention: Intervention) -> bool:
        """Carry out a person's decision and note it; False when the run has changed meanwhile."""
        done = await self.carry_out(intervention)
        self.wake_own()
        return done

    async def save_foreign(
        self, saga_id: str, saga_name: str, status: str, context: str, metadata: dict[str, Any]
    ) -> None:
        """Insert or update a row on behalf of sagaz's own engine.

        Raises:
            ValueError: A run of ours has this saga_id.
        """
        if not await self.save_row(saga_id, saga_name, status, context, correlation_id_of(metadata)):
            raise taken(saga_id)

    async def send(self, signals: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one transaction."""
        sent = await self.add_signals(signals)
        self.wake_own()
        return sent

    async def insert_events(self, events: Sequence[NewEvent]) -> list[bool]:
        """Insert events of the application in one transaction."""
        inserted = await self.add_events(events)
        self.wake_own()
        return inserted

    async def receive_webhook(self, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
        """Record one delivery of a webhook's event, with what it leads to, in one transaction."""
        records = await self.record_webhook(events)
        self.wake_own()
        return records

    async def start_delayed(self, limit: StartLimit) -> int:
        """Start the runs of a trigger's delayed events as far as there is room."""
        started = await self.release_delayed(limit)
        if started:
            self.wake_own()
        return started

    async def replay_webhook(self, event: NewWebhook, actor: str, reason: str) -> WebhookRecord | None:
        """Do what a quarantined or ignored event leads to now."""
        record = await self.redo_webhook(event, actor, reason)
        self.wake_own()
        return record

    async def retry_events(self, event_ids: Sequence[str]) -> list[str]:
        """Make dead events pending again."""
        retried = await self.revive_events(event_ids)
        self.wake_own()
        return retried

"""What becomes of an event loop that a step keeps from turning: told at once, and given up when it goes on too long."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sagaz_durable.leases.lease import Lease
from sagaz_durable.leases.loop_watch import LoopWatch
from sagaz_integration_core.contract.records import Release, RunWrite
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.errors import SagazError

__all__ = ["BlockedLoops", "HeldLeases", "StepLimit"]

logger = logging.getLogger(__name__)

_BLOCKED_SECONDS = 1.0
"""After which the log is told that an event loop stands still."""

StepLimit = Callable[[str, str], float]
"""Returns the time limit of a step, by its saga's name and its own (``:undo`` or ``:redo`` behind it for others)."""

_REMEDY = (
    "Nothing else on this event loop goes on meanwhile, other runs included. Make it a plain `def` step, which is "
    "called in a thread, or await what it waits for."
)


class HeldLeases(Protocol):
    """The leases of the runs that one event loop executes."""

    @property
    def held(self) -> Mapping[str, Lease]:
        """By saga_id, those whose runs go on."""
        ...

    @property
    def watch(self) -> LoopWatch:
        """What is known of the event loop from another thread."""
        ...


class Keeper(Protocol):
    """Whoever keeps the leases of this process."""

    @property
    def owner(self) -> str:
        """Under which this process holds its leases."""
        ...

    @property
    def renews(self) -> bool:
        """Whether leases end, and others may then take the runs."""
        ...

    def ask(self, work: Callable[[SagaStore], Awaitable[Any]]) -> Any:
        """Ask the store; on the keeper's thread."""
        ...


class BlockedLoops:
    """Watches the event loops of a process for its `LeaseKeeper`, on that one's thread.

    Attributes:
        on_given_up: Called, with the reason, when the runs of a loop were given up.
    """

    def __init__(
        self, keeper: Keeper, lease_seconds: float, step_limit: StepLimit, backoff: Callable[[int], float]
    ) -> None:
        self._keeper = keeper
        self._lease_seconds = lease_seconds
        self._step_limit = step_limit
        self._backoff = backoff
        self.on_given_up: Callable[[str], None] = lambda reason: None

    def look(self, passed: float, runtimes: Iterable[HeldLeases]) -> None:
        """Look at every loop that executes runs."""
        for leases in tuple(runtimes):
            held, watch = tuple(leases.held.values()), leases.watch
            if not held and not watch.seconds:
                watch.forget()
                continue
            ended = watch.look(passed, held)
            if ended is not None:
                self._turns_again(watch, ended)
            elif watch.seconds:
                self._stands_still(watch, held)

    def _turns_again(self, watch: LoopWatch, seconds: float) -> None:
        if watch.told:
            logger.warning("The event loop turns again: %s had blocked it for %.1f s.", watch.holder, seconds)
        watch.told = False

    def _stands_still(self, watch: LoopWatch, held: Sequence[Lease]) -> None:
        holder = watch.holder
        if not watch.told and not holder.plain and watch.seconds >= _BLOCKED_SECONDS:
            watch.told = True
            logger.warning(
                "%s blocks the event loop, for %.1f s by now, at %s. %s",
                _capital(str(holder)), watch.seconds, watch.place(), _REMEDY,
            )  # fmt: skip
        if watch.given_up is None and watch.seconds > self._limit(watch) + self._lease_seconds:
            self._give_up(watch, held)

    def _limit(self, watch: LoopWatch) -> float:
        lease = watch.holder.lease
        return self._step_limit(lease.run.saga_name if lease is not None else "", watch.holder.step)

    def _give_up(self, watch: LoopWatch, held: Sequence[Lease]) -> None:
        """Give back all runs of a loop: that of the step is charged with what was seen, its neighbours are not."""
        if not self._keeper.renews or any(lease.endless for lease in held):
            # Nobody else could take them; whoever can end the step is at this process.
            return
        what = "has not returned" if watch.holder.plain else "has blocked the event loop"
        watch.given_up = f"{watch.holder} {what} for {watch.seconds:.0f} s"
        logger.critical(
            "%s, longer than its own time limit and a lease. This process gives up all %d runs on that loop. %s\n%s",
            _capital(watch.given_up), len(held), "" if watch.holder.plain else _REMEDY, watch.stack(),
        )  # fmt: skip
        for lease in held:
            lease.lose(f"{watch.given_up}.")
        writes = [self._release(lease, watch) for lease in held]
        try:
            self._keeper.ask(lambda store: store.write(writes))
        except SagazError as error:
            logger.warning("The runs could not be given back, and are resumed when their leases end: %s", error)
        self.on_given_up(watch.given_up)

    def _release(self, lease: Lease, watch: LoopWatch) -> RunWrite:
        guilty = lease is watch.holder.lease
        release = Release(
            delay=self._backoff(lease.run.failures + 1) if guilty else 0.0, failed=guilty, detail=f"{watch.given_up}"
        )
        return RunWrite(lease.saga_id, self._keeper.owner, lease.attempt, release=release)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

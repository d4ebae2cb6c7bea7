"""What runs wait for, and the signals that they are sent; as records that pass between the engine and a store.

Their ``repr`` has no payloads: logs and error reports have it, and a payload is as secret as a context.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.statuses import Phase

__all__ = [
    "DECISIONS",
    "NewSignal",
    "Sent",
    "SignalFilter",
    "SignalRecord",
    "SignalState",
    "SignalStore",
    "WaitOutcome",
    "WaitRecord",
    "WaitWrite",
    "decision_signal",
]

DECISIONS = "sagaz:"
"""How the names of the signals begin by which people decide about a run: no step waits for one by itself."""


def decision_signal(step: str, phase: Phase, attempt: int) -> str:
    """Return the name of the signal by which a person decides about a step, who is asked for it in this attempt."""
    return f"{DECISIONS}{phase}:{step}:{attempt}"


WaitOutcome = Literal["signal", "timeout", "refused"]
"""How a wait ended: its signal came; its time was over; or there is a wait for the same name and key already."""

SignalState = Literal["untaken", "taken"]


@record
class WaitWrite:
    """One wait to register; (step, phase, name, n) is its key within the run, and one that is there stays as it is.

    Attributes:
        name: Of the signal; empty for a timer.
        n: The how many-eth wait of this name it is within one call, from 0.
        key: The business key by which a sender may address it; None for the saga_id alone.
        seconds: After how many seconds it is over, from now on by the store's clock.
        until: When it is over, instead; an aware datetime.
    """

    step: str
    phase: Phase
    name: str
    n: int
    key: str | None = None
    seconds: float | None = None
    until: datetime | None = None


@record
class WaitRecord:
    """One row of ``sagaz_wait``; datetimes are aware, in UTC.

    Attributes:
        key: As long as it is open: then another run may wait for it.
        outcome: None as long as it is open. A claim of its run gives it one, and it keeps that; one for a name and key
            that another wait has is ``refused`` when it is registered.
        attempt: The attempt by whose claim it ended; for a refused one, the attempt after that which registered it.
        payload: What its signal brought, as JSON; for a refused one, the ``saga_id`` of the run that waits.
    """

    saga_id: str
    step: str
    phase: Phase
    name: str
    n: int
    key: str | None
    until: datetime | None
    created_at: datetime
    outcome: WaitOutcome | None = None
    attempt: int | None = None
    payload: str | None = field(default=None, repr=False)

    @property
    def is_missed(self) -> bool:
        """Whether its signal did not come in time, or was another run's."""
        return self.name != "" and self.outcome in ("timeout", "refused")


@record
class NewSignal:
    """One signal to send; exactly one of ``saga_id`` and ``key`` is given.

    Attributes:
        id: Made of name, address and ``signal_id``, so that a repeated one is recognised.
        payload: As JSON.
        fingerprint: Of the payload.
        actor, reason: Of a person who sends it, for the audit of the run that it is for, that waits under its key, or
            that takes it later; no note is made without an actor.
        version: It is inserted only if its run has this version when the insertion looks, which locks nothing: the run
            may go on before the signal is committed.
    """

    id: str
    name: str
    saga_id: str | None
    key: str | None
    signal_id: str
    payload: str = field(repr=False)
    fingerprint: str = field(repr=False)
    actor: str | None = None
    reason: str = ""
    version: int | None = None


@record
class Sent:
    """What became of a `NewSignal`.

    Attributes:
        created: Whether it was inserted; otherwise one of its id was there, or its run has ended or another version.
        fingerprint: Of the one that is there; None if there is none.
    """

    created: bool
    fingerprint: str | None = field(default=None, repr=False)


@record
class SignalRecord:
    """One row of ``sagaz_signal``; datetimes are aware, in UTC. A taken one has given its payload away.

    Attributes:
        taken_by: The saga_id of the run that has taken it, in ``taken_step`` or, by ``taken_phase``, its compensation.
    """

    id: str
    name: str
    saga_id: str | None
    key: str | None
    signal_id: str
    payload: str | None = field(repr=False)
    fingerprint: str = field(repr=False)
    created_at: datetime
    taken_at: datetime | None
    taken_by: str | None
    taken_step: str | None = None
    taken_phase: Phase | None = None


@record
class SignalFilter:
    """Which signals to list, the newest first; by default those that nobody has taken."""

    state: SignalState | None = "untaken"
    name: str | None = None
    saga_id: str | None = None
    limit: int = 50
    before: tuple[datetime, str] | None = None


class SignalStore(Protocol):
    """What a store does about waits and signals besides claiming and writing runs; see `SagaStore`."""

    async def send(self, signals: Sequence[NewSignal]) -> list[Sent]:
        """Insert signals in one transaction, an answer for each, and wake workers.

        No row of a run is touched: the claim finds the waiting runs for which a signal is there. One whose id is there
        is left as it is; one to a run that has ended, or has another version than is asked for, is not inserted. A
        person's is noted in the audit of its run, or of the one that waits under its key; if none does yet, of the run
        that takes it.
        """
        ...

    async def load_waits(self, *saga_ids: str) -> list[WaitRecord]:
        """Return what these runs wait for, or have waited for within the calls that are under way.

        However many runs they are, it is one question; the waits of each run come the oldest first.
        """
        ...

    async def rouse_lost(self, steps: Mapping[str, Collection[str]]) -> int:
        """Make the waiting runs of these sagas due that wait in a step which theirs has not; return how many."""
        ...

    async def count_lost(self, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
        """Return how many runs `rouse_lost` would make due, by their saga and the step or compensation that waits."""
        ...

    async def count_signalled(self) -> dict[str, tuple[int, float]]:
        """Return how many waiting runs have a signal that no claim has found, and the age of the oldest, by saga.

        They are due, though their rows do not tell: a signal touches no row of a run. Ages are in seconds.
        """
        ...

    async def find_signals(self, query: SignalFilter) -> list[SignalRecord]:
        """Return signals, the newest first."""
        ...

    async def count_untaken(self) -> int:
        """Return how many signals nobody has taken."""
        ...

    async def prune_signals(self, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
        """Delete at most ``limit`` signals that were taken, or were sent and not taken, before; return how many.

        One to the saga_id of a run that has not ended, or to a key under which one waits, stays however old it is.
        """
        ...

    async def count_prunable_signals(self, taken_before: datetime, untaken_before: datetime) -> int:
        """Return how many signals `prune_signals` would delete without a limit."""
        ...

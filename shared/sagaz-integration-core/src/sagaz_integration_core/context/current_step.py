"""What a step can know of the run that it belongs to."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine
from contextvars import ContextVar
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz_integration_core.contract.statuses import Phase

    # For type checkers, which cannot tell whether an event loop runs: each is what it is in both kinds of steps.
    class SignalWait(dict[str, Any], Coroutine[Any, Any, dict[str, Any]]):
        """A signal's payload in a ``def`` step, a coroutine that returns it in an ``async def`` one."""

    class TimeWait(Coroutine[Any, Any, None]):
        """None in a ``def`` step, a coroutine in an ``async def`` one."""


__all__ = ["CurrentStep", "Waits", "current_step", "followed"]


class Waits(Protocol):
    """What the executing engine does about the waits of one call.

    Where an event loop runs, each returns a coroutine that does what is said below.
    """

    def signal(self, name: str, key: str | None, timeout: timedelta | float | None) -> SignalWait:
        """Return what a signal has brought, or leave the call."""
        ...

    def sleep(self, duration: timedelta | float | None, until: datetime | None) -> TimeWait:
        """Return once the time has come, or leave the call."""
        ...


@record
class CurrentStep:
    """The step or compensation that is being called.

    Attributes:
        attempt: How often the run was claimed, from 1; it grows when a process died or gave the run back.
        retry: How often this call was tried again within the attempt, from 0.
        idempotency_key: ``saga_id:step``, for a compensation ``saga_id:step:undo``, for a ``@forward_recovery``
            handler ``saga_id:step:redo``; the same at every attempt and retry, so that a payment provider that is given
            it does the work once.
        app_given: The application, or a weak reference to it: contexts are kept by timers long after their step.
        state: What the application's lifespan yielded (FastAPI), by attribute; elsewhere None.
        waits: Of this call; None where nothing can wait, as in a hook.
        session_given: Of a transactional step; None elsewhere, and where the framework has one of its own.
    """

    saga_id: str
    saga_name: str
    step: str
    phase: Phase
    attempt: int
    retry: int
    correlation_id: str | None
    app_given: Any = field(default=None, repr=False)
    state: Any = None
    waits: Waits | None = field(default=None, repr=False)
    session_given: Any = field(default=None, repr=False)

    def signal(self, name: str, *, key: str | None = None, timeout: timedelta | float | None = None) -> SignalWait:
        """Wait for a signal, and return its payload: ``await`` it in an ``async def`` step, not in a ``def`` one.

        Where an event loop runs, a coroutine is returned, of which a task can be made; elsewhere the payload, a dict.

        Unless it is there, the call is left by an exception that is no `Exception`, and the run holds no process,
        thread, connection or lease while it waits. When the signal comes, the step is called again from its beginning,
        under the same idempotency key: what stands before the wait happens again.

        Args:
            name: Of the signal; whoever sends one addresses it by this name and the saga_id.
            key: Another address, which whoever sends it knows, as a payment's id; at most one wait is for it at once.
            timeout: How long to wait from the first call on, in seconds or as a timedelta; None for ever.

        Raises:
            SignalTimeout: It did not come in time.
            AlreadyAwaited: Another run, or another wait of this one, waits for this name and key.
            UsageError: Nothing can wait here, or an argument cannot be used.
        """
        return self._waits().signal(name, key, timeout)

    def sleep(self, duration: timedelta | float) -> TimeWait:
        """Wait for a time, in seconds or as a timedelta, from the first call on; ``await`` it in an ``async def`` step.

        The call is left meanwhile, as by `signal`.

        Raises:
            UsageError: Nothing can wait here, or the time cannot be used.
        """
        return self._waits().sleep(duration, None)

    def sleep_until(self, moment: datetime) -> TimeWait:
        """Wait until an aware datetime, by the database's clock; ``await`` it in an ``async def`` step.

        The call is left meanwhile, as by `signal`.

        Raises:
            UsageError: Nothing can wait here, or the time cannot be used.
        """
        return self._waits().sleep(None, moment)

    def _waits(self) -> Waits:
        if self.waits is None:
            raise UsageError("Nothing can wait here: hooks and listeners are told once, and are not called again.")
        return self.waits

    @property
    def session(self) -> Any:
        """The session, or connection, of a transactional step: what is done through it commits with the journal entry.

        It is neither committed nor closed by the step.

        Raises:
            UsageError: The step is not transactional, or its sessions are the framework's own, as in Django.
        """
        if self.session_given is None:
            raise UsageError(
                f"Step {self.step!r} has no session here. current_step().session is for steps and compensations that "
                "are declared as @effect('transactional'), in FastAPI and Flask; in Django they use the ORM."
            )
        return self.session_given

    @property
    def app(self) -> Any:
        """The application object, in web processes and workers alike."""
        return followed(self.app_given)

    @property
    def idempotency_key(self) -> str:
        """The key to hand to whatever the step calls."""
        key = f"{self.saga_id}:{self.step}"
        return key if self.phase == "do" else f"{key}:{self.phase}"

    @property
    def decision_signal(self) -> str:
        """The name of the signal by which a person decides, if this call asks for one.

        That is a compensation with ``CompensationType.MANUAL``, whose ``on_compensate`` hook may tell people of it, and
        a ``@forward_recovery`` handler that returns ``RecoveryAction.MANUAL_INTERVENTION``. It goes with the saga_id.
        """
        from sagaz_integration_core.contract.waits import decision_signal

        return decision_signal(self.step, self.phase, self.attempt)


current: ContextVar[CurrentStep] = ContextVar("sagaz_current_step")


def followed(given: Any) -> Any:
    """Return what a weak reference refers to, None if that has gone; anything else as it is."""
    return given() if isinstance(given, weakref.ref) else given


def current_step() -> CurrentStep:
    """Return the step that is being called, sync or async.

    Raises:
        LookupError: Nothing here runs inside a step of a durable run.
    """
    try:
        return current.get()
    except LookupError:
        raise LookupError(
            "current_step() was called outside a step. It works inside @action and @compensate methods of a saga "
            "that the runtime executes (a bound saga's run, a background run, a worker), not in sagaz's own Saga.run."
        ) from None

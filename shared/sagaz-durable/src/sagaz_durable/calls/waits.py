"""Waits of a run's calls: those that are over are answered, at any other one the call is left."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any

from sagaz_durable.masked_errors import masked_error
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_durable.serialization.moments import read_moment, read_seconds
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.contract.statuses import Call
from sagaz_integration_core.contract.waits import DECISIONS, WaitRecord, WaitWrite
from sagaz_integration_core.errors import AlreadyAwaited, InvalidInput, SignalTimeout, StepError, UsageError

__all__ = ["CallWaits", "RunWaits", "waits_for"]


class CallLeft(BaseException):
    """Leaves a call at a wait; no `Exception`, so that no ``except Exception`` of a step takes it for a failure."""


class RunWaits:
    """All waits that one run has registered.

    Args:
        run: As it was claimed.
    """

    def __init__(self, run: ClaimedRun) -> None:
        self._records: dict[tuple[Call, str, int], WaitRecord | WaitWrite] = {
            ((wait.step, wait.phase), wait.name, wait.n): wait for wait in run.waits
        }

    def of_call(self, call: Call, refused: str | None = None) -> CallWaits:
        """Return the waits of a call that begins now; see `CallWaits` for ``refused``."""
        return CallWaits(call, self._records, refused)

    def of(self, call: Call) -> list[WaitRecord | WaitWrite]:
        """Return what is known of the waits of a call."""
        return [wait for (of, _, _), wait in self._records.items() if of == call]

    def is_over(self, call: Call, attempt: int) -> bool:
        """Whether a call that was left in this attempt is to be called again.

        One of its waits has ended since; or none is open, as after a decision.
        """
        mine = self.of(call)
        return any(isinstance(wait, WaitRecord) and (wait.attempt or 0) > attempt for wait in mine) or all(
            isinstance(wait, WaitRecord) and wait.outcome is not None for wait in mine
        )

    def registered(self, waits: Iterable[WaitWrite]) -> None:
        """Take note of waits that a write has registered."""
        for wait in waits:
            self._records[(wait.step, wait.phase), wait.name, wait.n] = wait

    def forget(self, call: Call, *, only_missed: bool = False) -> bool:
        """Forget the waits of a call that has ended, or those whose signal did not come; return whether it had any."""
        mine = [
            key for key, wait in self._records.items()
            if key[0] == call and (not only_missed or (isinstance(wait, WaitRecord) and wait.is_missed))
        ]  # fmt: skip
        for key in mine:
            del self._records[key]
        return bool(mine)

    def forget_open(self) -> None:
        """Forget all that are not over."""
        for key in [key for key, wait in self._records.items() if _is_open(wait)]:
            del self._records[key]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._records)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls that have waits."""
        return tuple(dict.fromkeys(call for call, _, _ in self._records))

    @property
    def open(self) -> list[WaitRecord | WaitWrite]:
        """The waits that are not over."""
        return [wait for wait in self._records.values() if _is_open(wait)]


class CallWaits:
    """The waits of one call, counted from its beginning.

    Where an event loop runs, a wait is a coroutine. Which of the call's waits it is, is settled when it is made: so
    several may be awaited in whatever order, each in a task of its own.

    Attributes:
        left: Whether the call was left at a wait that is not over.
        new: The waits that this call is the first to meet.
        open: Whether the call is under way: before it and after it, in hooks, nothing can wait.
        refused: Why it cannot wait at all, in words that follow its name; None if it can.
    """

    __slots__ = ("_call", "_coroutines", "_last", "_met", "_records", "_unawaited", "left", "new", "open", "refused")

    def __init__(
        self, call: Call, records: dict[tuple[Call, str, int], WaitRecord | WaitWrite], refused: str | None = None
    ) -> None:
        self.refused = refused
        self._call = call
        self._records = records
        self._met: dict[str, int] = {}
        self._coroutines: list[tuple[str, Coroutine[Any, Any, Any]]] = []
        self._unawaited: list[str] = []
        self._last = ""
        self.left = False
        self.open = False
        self.new: list[WaitWrite] = []

    def signal(self, name: str, key: str | None, timeout: timedelta | float | None) -> Any:
        """Return what a signal has brought, or leave the call."""
        _check("a signal's name", name)
        if name.startswith(DECISIONS):
            raise UsageError(f"Signals that begin with {DECISIONS!r} are for decisions of people; choose another name.")
        if key is not None:
            _check("a signal's key", key)
        seconds = None if timeout is None else read_seconds("timeout", timeout)
        return self._met_by(WaitWrite(*self._call, name, self._next(name), key, seconds))

    def sleep(self, duration: timedelta | float | None, until: datetime | None) -> Any:
        """Return once the time has come, or leave the call."""
        if until is not None:
            asked = WaitWrite(*self._call, "", self._next(""), until=read_moment("sleep_until", until))
        else:
            what = "sleep_until or sleep" if duration is None else "sleep"
            asked = WaitWrite(*self._call, "", self._next(""), seconds=read_seconds(what, duration))
        return self._met_by(asked)

    async def close(self) -> None:
        """End the call."""
        self.open = False
        self._unawaited = [
            what for what, coroutine in self._coroutines
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        ]  # fmt: skip
        made, self._coroutines = self._coroutines, []
        if self._unawaited:
            await _dispose(coroutine for _, coroutine in made)

    def mistake(self, error: Exception | None) -> StepError | None:
        """Return what a call that has ended did wrong about its waits, if anything.

        Args:
            error: What it raised, None if it returned.
        """
        if self.left:
            return None if error is not None else self._swallowed()
        # A wait that is left over because the step failed in between is no mistake; these two are how a step fails that
        # takes one for its payload.
        if self._unawaited and (error is None or isinstance(error, TypeError | AttributeError)):
            return self._not_awaited(self._unawaited[0], error)
        return None

    def _swallowed(self) -> StepError:
        return StepError(
            f"Step {self._call[0]!r} went on after its wait for {self._last}, and returned. Waiting leaves a step by "
            "an exception that is no Exception: it must not be caught (a bare `except:`, `except BaseException`), and "
            "in an `async def` step a task that waits must be awaited."
        )

    def _not_awaited(self, what: str, error: Exception | None) -> StepError:
        raised = f", and raised {masked_error(error)}" if error is not None else ""
        failure = StepError(
            f"Step {self._call[0]!r} did not await its wait for {what}{raised}. Where an event loop runs, as in an "
            "`async def` step, write `await current_step().signal(…)`, `await current_step().sleep(…)`."
        )
        failure.__cause__ = error
        return failure

    def _next(self, name: str) -> int:
        count = self._met.get(name, 0)
        self._met[name] = count + 1
        return count

    def _met_by(self, asked: WaitWrite) -> Any:
        if self.refused is not None:
            raise UsageError(f"Step {self._call[0]!r} {self.refused}")
        if not self.open:
            raise UsageError(
                f"Nothing can wait here: step {self._call[0]!r} itself is not being called, as in a hook, which is "
                "told once. Wait in the step."
            )
        known = self._records.get((self._call, asked.name, asked.n))
        if known is None:
            # Not only when it is awaited: of several that are awaited together, the first one leaves the call.
            self.new.append(asked)
        if not _on_event_loop():
            return self._answer(known or asked)
        coroutine = self._answer_to_await(known or asked)
        self._coroutines.append((waits_for(known or asked), coroutine))
        return coroutine

    async def _answer_to_await(self, wait: WaitRecord | WaitWrite) -> dict[str, Any] | None:
        if not self.open:
            # A task that begins after the step's end.
            raise asyncio.CancelledError
        return self._answer(wait)

    def _answer(self, wait: WaitRecord | WaitWrite) -> dict[str, Any] | None:
        if isinstance(wait, WaitRecord) and not _is_open(wait):
            return _result(wait)
        self.left = True
        self._last = waits_for(wait)
        raise _left_at(self._last)


def _is_open(wait: WaitRecord | WaitWrite) -> bool:
    return isinstance(wait, WaitWrite) or wait.outcome is None


async def _dispose(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Close what nobody has awaited, once tasks that were made of it have had their turn to end quietly."""
    try:
        await asyncio.sleep(0)
    finally:
        for coroutine in coroutines:
            coroutine.close()


def _left_at(waited_for: str) -> CallLeft:
    return CallLeft(f"The step waits for {waited_for}, and is called again then.")


def _result(wait: WaitRecord) -> dict[str, Any] | None:
    payload: dict[str, Any] = codec.decode(wait.payload) if wait.payload else {}
    if wait.outcome == "refused":
        other = payload.get("saga_id")
        who = "another wait of this same run" if other == wait.saga_id else f"run {other or 'another one'}"
        raise AlreadyAwaited(f"Signal {wait.name!r} with this key is awaited already, by {who}; one can get it.")
    if wait.outcome == "timeout" and wait.name:
        raise SignalTimeout(f"Signal {wait.name!r} did not come in time.")
    return payload if wait.name else None


def waits_for(wait: WaitRecord | WaitWrite) -> str:
    """Tell what a wait is for, without its key: that may be a customer's."""
    what = f"signal {wait.name!r}" if wait.name else "a time"
    if wait.until is not None:
        return f"{what}, until {wait.until:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(wait, WaitWrite) and wait.seconds is not None:
        return f"{what}, for {wait.seconds:g} s"
    return what


def _check(what: str, given: object) -> None:
    try:
        check_identifier(what, given)
    except InvalidInput as error:
        # Who wrote the step gave it, not a client.
        raise UsageError(str(error)) from None


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

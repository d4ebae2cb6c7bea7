"""Waits of a run's calls: those that are over are answered, at any other one the call is left."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from datetime import datetime, timedelta
from typing import Any

from sagaz_durable.serialization import codec
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_durable.serialization.moments import read_moment, read_seconds
from sagaz_integration_core.context.current_step import SignalPayload
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.contract.statuses import Call
from sagaz_integration_core.contract.waits import WaitRecord, WaitWrite
from sagaz_integration_core.errors import AlreadyAwaited, SignalTimeout, StepError, UsageError

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

    def of_call(self, call: Call) -> CallWaits:
        """Return the waits of a call that begins now."""
        return CallWaits(call, self._records)

    def is_over(self, call: Call, attempt: int) -> bool:
        """Whether a call that was left in this attempt is to be called again.

        One of its waits has ended since; or none is open, as after a decision.
        """
        mine = [wait for (of, _, _), wait in self._records.items() if of == call]
        return any(isinstance(wait, WaitRecord) and (wait.attempt or 0) > attempt for wait in mine) or all(
            isinstance(wait, WaitRecord) and wait.outcome is not None for wait in mine
        )

    def registered(self, waits: Iterable[WaitWrite]) -> None:
        """Take note of waits that a write has registered."""
        for wait in waits:
            self._records[(wait.step, wait.phase), wait.name, wait.n] = wait

    def forget(self, call: Call) -> bool:
        """Forget the waits of a call that has ended; return whether it had any."""
        mine = [key for key in self._records if key[0] == call]
        for key in mine:
            del self._records[key]
        return bool(mine)

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
        return [wait for wait in self._records.values() if isinstance(wait, WaitWrite) or wait.outcome is None]


class CallWaits:
    """The waits of one call, counted from its beginning.

    Attributes:
        left: Whether a wait was met that is not over; the call is to be left there.
        new: The waits that this call is the first to meet.
        open: Whether the call is under way: before it and after it, in hooks, nothing can wait.
    """

    __slots__ = ("_call", "_last", "_met", "_records", "left", "new", "open")

    def __init__(self, call: Call, records: dict[tuple[Call, str, int], WaitRecord | WaitWrite]) -> None:
        self._call = call
        self._records = records
        self._met: dict[str, int] = {}
        self._last = ""
        self.left = False
        self.open = False
        self.new: list[WaitWrite] = []

    def signal(self, name: str, key: str | None, timeout: timedelta | float | None) -> SignalPayload:
        """Return what a signal has brought, or leave the call."""
        check_identifier("a signal's name", name)
        if key is not None:
            check_identifier("a signal's key", key)
        seconds = None if timeout is None else read_seconds("timeout", timeout)
        return self._answer(WaitWrite(*self._call, name, self._next(name), key, seconds))

    def sleep(self, duration: timedelta | float | None, until: datetime | None) -> SignalPayload:
        """Return once the time has come, or leave the call."""
        if until is not None:
            asked = WaitWrite(*self._call, "", self._next(""), until=read_moment("sleep_until", until))
        else:
            what = "sleep_until or sleep" if duration is None else "sleep"
            asked = WaitWrite(*self._call, "", self._next(""), seconds=read_seconds(what, duration))
        return self._answer(asked)

    def swallowed(self) -> StepError:
        """Return the error of a call that met a wait and went on all the same."""
        return StepError(
            f"Step {self._call[0]!r} went on after its wait for {self._last}, and returned. Waiting leaves a step by "
            "an exception that is no Exception: it must not be caught (a bare `except:`, `except BaseException`), and "
            "in an `async def` step the wait must be awaited, and alone: nothing can be waited for beside it."
        )

    def _next(self, name: str) -> int:
        count = self._met.get(name, 0)
        self._met[name] = count + 1
        return count

    def _answer(self, asked: WaitWrite) -> SignalPayload:
        if not self.open:
            raise UsageError(
                f"Nothing can wait here: step {self._call[0]!r} itself is not being called, as in a hook, which is "
                "told once. Wait in the step."
            )
        key = (self._call, asked.name, asked.n)
        known = self._records.get(key)
        if isinstance(known, WaitRecord) and known.outcome is not None:
            return _result(known)
        self._last = waits_for(known or asked)
        if known is None:
            self.new.append(asked)
        self.left = True
        if _on_event_loop():
            # Not before it is awaited: several that are awaited together are all registered.
            return _Left(self._last)
        raise _left_at(self._last)


class _Left(SignalPayload):
    """What a wait of an ``async def`` step returns that is not over."""

    def __init__(self, waited_for: str) -> None:
        super().__init__()
        self._waited_for = waited_for

    def __await__(self) -> Generator[Any, None, SignalPayload]:
        raise _left_at(self._waited_for)
        yield


def _left_at(waited_for: str) -> CallLeft:
    return CallLeft(f"The step waits for {waited_for}, and is called again then.")


def _result(wait: WaitRecord) -> SignalPayload:
    payload = codec.decode(wait.payload) if wait.payload else {}
    if wait.outcome == "refused":
        other = payload.get("saga_id") or "another one"
        raise AlreadyAwaited(f"Signal {wait.name!r} with this key is awaited already, by run {other}; one can get it.")
    if wait.outcome == "timeout" and wait.name:
        raise SignalTimeout(f"Signal {wait.name!r} did not come in time.")
    return SignalPayload(payload)


def waits_for(wait: WaitRecord | WaitWrite) -> str:
    """Tell what a wait is for, without its key: that may be a customer's."""
    what = f"signal {wait.name!r}" if wait.name else "a time"
    if wait.until is not None:
        return f"{what}, until {wait.until:%Y-%m-%d %H:%M:%S %Z}"
    if isinstance(wait, WaitWrite) and wait.seconds is not None:
        return f"{what}, for {wait.seconds:g} s"
    return what


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

"""Times that the application gives: the one check of moments and durations, before any of them is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sagaz_integration_core.error_text import type_name, value_text
from sagaz_integration_core.errors import UsageError

__all__ = ["LONGEST", "read_deadline", "read_moment", "read_seconds"]

LONGEST = timedelta(days=3653)
"""How far ahead a time may be: ten years. One beyond is a mistake, and databases differ in what they can keep."""

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = "datetime.now(UTC) + timedelta(days=1)"
_DURATION = "timedelta(hours=2), or seconds"
_SHOWN = 80


def read_moment(what: str, given: object) -> datetime:
    """Return a moment, in UTC, as every store can keep it.

    Raises:
        UsageError: It is no aware datetime from 1970 on and at most `LONGEST` from now.
    """
    if not isinstance(given, datetime):
        raise UsageError(f"{what} is {_kind(given)}; expected an aware datetime, as {_MOMENT}.")
    if given.utcoffset() is None:
        shown = value_text(given, _SHOWN)
        raise UsageError(f"{what}={shown} has no time zone; use an aware datetime, e.g. datetime.now(UTC).")
    try:
        moment = given.astimezone(UTC)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    if not _FIRST <= moment <= datetime.now(UTC) + LONGEST:
        raise UsageError(
            f"{what} was given {value_text(given, _SHOWN)}; expected a time from 1970 on, and at most {LONGEST.days} "
            f"days from now, as {_MOMENT}."
        )
    return moment


def read_seconds(what: str, given: object) -> float:
    """Return a duration in seconds.

    Raises:
        UsageError: It is no timedelta, nor a number of seconds, from 0 to `LONGEST`.
    """
    if isinstance(given, bool) or not isinstance(given, timedelta | int | float):
        raise UsageError(f"{what} was given {_kind(given)}; expected {_DURATION}.")
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not 0 <= seconds <= LONGEST.total_seconds():
        shown = value_text(given, _SHOWN)
        raise UsageError(f"{what} was given {shown}; expected 0 to {LONGEST.days} days, as {_DURATION}.")
    return float(seconds)


def read_deadline(given: object, begins: datetime | None = None) -> datetime | float | None:
    """Return a deadline; a duration is counted from the start, or from when the run may begin if that is later.

    Args:
        begins: When the run may begin, if that was given.

    Raises:
        UsageError: It is no time to come.
    """
    if given is None:
        return None
    is_later = begins is not None and begins > datetime.now(UTC)
    if isinstance(given, timedelta):
        if given <= timedelta(0):
            raise UsageError(f"deadline={given!r} is no time to come; expected e.g. timedelta(hours=1).")
        seconds = read_seconds("deadline", given)
        return begins + timedelta(seconds=seconds) if is_later and begins is not None else seconds
    moment = read_moment("deadline", given)
    if is_later and begins is not None and moment <= begins:
        raise UsageError(
            f"deadline={moment} is not after not_before={begins}: the run would roll back before it has begun. Give a "
            "later deadline, or a timedelta, which is counted from not_before."
        )
    return moment


def _kind(given: object) -> str:
    return "a timedelta" if isinstance(given, timedelta) else type_name(given)

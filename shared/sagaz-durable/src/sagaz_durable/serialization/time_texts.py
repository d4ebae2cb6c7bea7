"""Times as texts that other languages read: ISO 8601, and RFC 9557 where a zone has a name."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo

__all__ = [
    "datetime_meaning",
    "datetime_text",
    "duration_text",
    "read_datetime",
    "read_duration",
    "read_time",
    "time_meaning",
    "time_text",
]

_MOMENT = re.compile(r"(?P<time>[^\[\]]+)(\[(?P<zone>[A-Za-z0-9_+/-]+)\])?(?P<fold>\[_fold=1\])?")
_DURATION = re.compile(r"(?P<sign>-?)P(?P<days>[0-9]{1,9})DT(?P<seconds>[0-9]{1,5})(\.(?P<micro>[0-9]{6}))?S")
_FIRST = datetime(1, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def datetime_text(moment: datetime) -> str:
    """Return a moment as ``2026-10-25T02:30:00+01:00[Europe/Berlin]``.

    Without a zone there is no offset; one that is not of `zoneinfo`'s has an offset and no name. ``[_fold=1]`` follows
    where the moment is the second one of that time on the clock.

    Raises:
        ValueError: The zone does not tell the same moment again.
    """
    text = _written(moment)
    if moment.tzinfo is not None and read_datetime(text) != moment:
        raise ValueError("its time zone does not tell the same moment again; pass .astimezone(UTC)")
    return text


def read_datetime(text: str) -> datetime:
    """Return what `datetime_text` was given; a zone that is not `zoneinfo`'s comes back as its offset.

    Raises:
        LookupError: This machine does not know the zone.
        ValueError: It is no such text.
    """
    found = _parts(text)
    moment = datetime.fromisoformat(found["time"])
    if found["zone"] is None:
        return moment.replace(fold=1) if found["fold"] else moment
    local = moment.replace(tzinfo=_zone(found["zone"]), fold=1 if found["fold"] else 0)
    if moment.tzinfo is None or local.utcoffset() == moment.utcoffset():
        return local
    # The zone's rules have been changed since: the moment is kept, not the time on the clock.
    return moment.astimezone(local.tzinfo)


def datetime_meaning(text: str) -> str:
    """Return the same text for all moments that are equal."""
    moment = datetime.fromisoformat(_parts(text)["time"])
    offset = moment.utcoffset()
    if offset is None:
        return moment.isoformat()
    return _since_first(moment.replace(tzinfo=None), offset)


def time_text(of_day: time) -> str:
    """Return a time of day as ``02:30:00``, with offset, zone and fold as in `datetime_text`.

    Raises:
        ValueError: The zone does not tell the same time again.
    """
    text = _written(of_day)
    if of_day.tzinfo is not None and read_time(text) != of_day:
        raise ValueError("its time zone does not tell the same time again; pass it without one")
    return text


def read_time(text: str) -> time:
    """Return what `time_text` was given; errors are those of `read_datetime`."""
    found = _parts(text)
    of_day = time.fromisoformat(found["time"])
    if found["zone"] is not None:
        of_day = of_day.replace(tzinfo=_zone(found["zone"]))
    return of_day.replace(fold=1) if found["fold"] else of_day


def time_meaning(text: str) -> str:
    """Return the same text for all times of day that are equal."""
    of_day = time.fromisoformat(_parts(text)["time"])
    offset = of_day.utcoffset()
    if offset is None:
        return of_day.isoformat()
    return _since_first(datetime.combine(_FIRST, of_day.replace(tzinfo=None)), offset)


def duration_text(duration: timedelta) -> str:
    """Return a duration as ``P1DT7200S`` or ``-P0DT0.500000S``: days, and seconds of less than a day."""
    length = abs(duration)
    micro = f".{length.microseconds:06}" if length.microseconds else ""
    return f"{'-' if duration < timedelta(0) else ''}P{length.days}DT{length.seconds}{micro}S"


def read_duration(text: str) -> timedelta:
    """Return what `duration_text` was given.

    Raises:
        OverflowError, ValueError: It is no such text.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("no duration")
    length = timedelta(int(found["days"]), int(found["seconds"]), int(found["micro"] or 0))
    return -length if found["sign"] else length


def _written(given: datetime | time) -> str:
    return f"{given.isoformat()}{_zone_suffix(given.tzinfo)}{'[_fold=1]' if given.fold else ''}"


def _since_first(clock: datetime, offset: timedelta) -> str:
    return f"{(clock - _FIRST - offset) // _MICROSECOND} microseconds"


def _parts(text: str) -> re.Match[str]:
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("no time")
    return found


def _zone_suffix(zone: tzinfo | None) -> str:
    # By its name, so that nobody loads the module who has none of these.
    kind = type(zone)
    if (kind.__module__, kind.__name__) != ("zoneinfo", "ZoneInfo"):
        return ""
    key = getattr(zone, "key", None)
    return "" if key is None else f"[{key}]"


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise LookupError(f"the time zone {name} is not known on this machine; install tzdata") from error

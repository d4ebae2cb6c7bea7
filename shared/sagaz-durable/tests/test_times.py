"""No time reaches a store that some store could not keep, or not read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sagaz import Saga, action

from sagaz_durable.calls.waits import CallLeft, CallWaits
from sagaz_durable.runtime.configuration import Configuration
from sagaz_durable.runtime.new_run import new_run
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import UsageError

FIRST, LONGEST = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=3653)
SLACK = timedelta(minutes=5)
ENDS = [
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC),
    datetime.fromisoformat("9999-12-31T23:59:59-01:00"),
    datetime.fromisoformat("0001-01-01T00:00:00+01:00"),
]


class Late(Saga):
    saga_name = "late"

    @action("only")
    async def only(self, ctx):
        return None


CONFIGURATION = Configuration(Settings(), sagas=[Late])


class _Unzoned(tzinfo):
    def utcoffset(self, moment):
        return None


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=st.none() | OFFSETS | st.timezones()) | st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2060, 1, 1), timezones=OFFSETS
)
DURATIONS = st.timedeltas() | st.timedeltas(timedelta(0), LONGEST * 2)
NUMBERS = st.integers() | st.floats() | st.integers(0, 700_000_000) | st.just(10**400)
WORDS = st.none() | st.booleans() | st.text() | st.complex_numbers()
ANYTHING = MOMENTS | DURATIONS | NUMBERS | WORDS


def kept(moment):
    """Check a moment as a store is given it."""
    assert moment.utcoffset() == timedelta(0)
    assert FIRST <= moment <= datetime.now(UTC) + LONGEST


def asked(wait):
    """Return the wait that a step registers, None if it is refused."""
    waits = CallWaits(("pay", "do"), {})
    waits.open = True
    try:
        wait(waits)
    except CallLeft:
        return waits.new[0]
    except UsageError as error:
        told = str(error)
    assert len(told) < 400
    assert waits.new == []
    return None


def started(**times):
    """Return the run that a start inserts, None if it is refused."""
    try:
        return new_run(CONFIGURATION, Late, {}, **times)
    except UsageError as error:
        told = str(error)
    assert len(told) < 400
    return None


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
@example(ENDS[0])
@example(ENDS[1])
@example(ENDS[2])
@example(ENDS[3])
@example(timedelta.max)
@example(timedelta.min)
@example(10**400)
@example(10**5000)
@example(float("nan"))
def test_no_time_reaches_a_store_unless_it_is_within_ten_years(value):
    for wait in (
        asked(lambda waits: waits.sleep(value, None)),
        asked(lambda waits: waits.sleep(None, value)),
        asked(lambda waits: waits.signal("paid", None, value)),
    ):
        if wait is not None and wait.until is not None:
            kept(wait.until)
        if wait is not None and wait.seconds is not None:
            assert 0 <= wait.seconds <= LONGEST.total_seconds()
    run = started(not_before=value)
    if run is not None and run.not_before is not None:
        kept(run.not_before)
    run = started(deadline=value)
    if run is not None and isinstance(run.deadline, datetime):
        kept(run.deadline)
    elif run is not None and run.deadline is not None:
        assert 0 < run.deadline <= LONGEST.total_seconds()


@pytest.mark.parametrize("moment", [*ENDS, datetime.now(UTC) + LONGEST * 1.01, FIRST - timedelta(seconds=1)])
def test_a_time_that_is_out_of_bounds_is_refused_with_what_is_allowed(moment):
    told = r"expected a time from 1970 on, and at most 3653 days from now, as datetime\.now\(UTC\)"
    with pytest.raises(UsageError, match=f"not_before was given .*; {told}"):
        new_run(CONFIGURATION, Late, {}, not_before=moment)
    with pytest.raises(UsageError, match=f"deadline was given .*; {told}"):
        new_run(CONFIGURATION, Late, {}, deadline=moment)
    with pytest.raises(UsageError, match=f"sleep_until was given .*; {told}"):
        CallWaits(("pay", "do"), {}).sleep(None, moment)


@pytest.mark.parametrize("duration", [timedelta.max, LONGEST + SLACK])
def test_a_deadline_beyond_ten_years_is_refused(duration):
    with pytest.raises(UsageError, match=r"deadline was given .*; expected 0 to 3653 days"):
        new_run(CONFIGURATION, Late, {}, deadline=duration)


@pytest.mark.parametrize("moment", [FIRST, datetime.now(UTC), datetime.now(UTC) + LONGEST - SLACK])
def test_a_time_within_ten_years_or_that_has_passed_is_taken_in_utc(moment):
    given_elsewhere = moment.astimezone(timezone(timedelta(hours=-9)))
    run = new_run(CONFIGURATION, Late, {}, not_before=given_elsewhere)
    assert (run.not_before, new_run(CONFIGURATION, Late, {}, deadline=given_elsewhere).deadline) == (moment, moment)
    kept(run.not_before)
    assert asked(lambda waits: waits.sleep(None, given_elsewhere)).until == moment


def test_a_sleep_without_a_time_is_refused():
    with pytest.raises(UsageError, match="sleep_until or sleep was given NoneType; expected timedelta"):
        CallWaits(("pay", "do"), {}).sleep(None, None)


def test_a_time_whose_zone_tells_no_offset_is_refused_as_one_without():
    with pytest.raises(UsageError, match=r"not_before=.* has no time zone"):
        new_run(CONFIGURATION, Late, {}, not_before=datetime(2030, 1, 1, tzinfo=_Unzoned()))

"""What contexts and results may hold, as strategies of hypothesis, and how two of them are compared."""

from __future__ import annotations

import enum
import math
from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis.strategies as st

__all__ = ["Currency", "Knows", "Parcel", "Permission", "contexts", "shape"]


class Currency(enum.StrEnum):
    """An enum whose members are strings."""

    EUR = "EUR"
    USD = "$"


class Permission(enum.Flag):
    """An enum whose members may be put together."""

    READ = 1
    WRITE = 2


class Parcel:
    """What has an enum inside."""

    class Size(enum.Enum):
        """With values of several types."""

        SMALL = 1
        LARGE = timedelta(days=1)


class Knows:
    """In place of a saga: this module has the enums."""


# Python reads an offset of less than a second as none: a time with such a one is refused.
_offsets = (
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23))
    .filter(lambda offset: not offset or abs(offset) >= timedelta(seconds=1))
    .map(timezone)
)
_zones = st.none() | st.just(UTC) | _offsets
_places = st.sampled_from(["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "UTC"]).map(ZoneInfo)
_texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
_keys = _texts | st.sampled_from(["$sagaz.decimal", "$$sagaz.enum", "$sagaz.", "$sagaz", "$ref"])
_plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15).filter(lambda number: number != 0 or math.copysign(1, number) > 0)
    | _texts
)
_others = (
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.datetimes(timezones=_zones)
    | st.datetimes(timezones=_places, allow_imaginary=True)
    | st.datetimes().map(lambda moment: moment.replace(fold=1))
    | st.dates()
    | st.times(timezones=_zones | _places)
    | st.timedeltas()
    | st.binary(max_size=200)
    | st.sampled_from([*Currency, *Permission, Permission.READ | Permission.WRITE, Permission(0), *Parcel.Size])
)
_trees = st.recursive(
    _plain | _others, lambda inner: st.lists(inner) | st.dictionaries(_keys, inner, max_size=3), max_leaves=10
)
contexts = st.dictionaries(_keys, _trees)
"""Of all types, and with dicts that look like tagged values."""


def shape(value: Any) -> Any:
    """Return a value with the exact type and spelling of everything in it."""
    if isinstance(value, dict):
        return dict, {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return list, [shape(item) for item in value]
    # The repr has what is equal and not the same: 1.0 and 1.00, a zone and its offset, the fold.
    return type(value), value, repr(value)

"""Values that JSON has not: how they are written, what they come back as, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings

from sagaz_durable.calls.context_values import changes, likeliest_path
from sagaz_durable.redaction import MASK, masked
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.tagging import plain_value
from sagaz_durable.testing.store_conformance.values.strategies import Currency, Knows, Parcel, contexts, shape
from sagaz_integration_core.errors import ContextValueError

patiently = settings(deadline=None, database=None, max_examples=100, suppress_health_check=list(HealthCheck))

BERLIN = ZoneInfo("Europe/Berlin")


class Saga:
    """In place of a saga: this module has `Currency` and `Parcel`, which it imports."""


def encode(value: Any, saga_class: type[Any] | None = Saga) -> str:
    return codec.encode(value, max_bytes=1_000_000, saga_class=saga_class)


def again(value: Any) -> Any:
    return codec.decode(encode({"v": value}), Saga)["v"]


def refusal(value: Any, saga_class: type[Any] | None = Saga) -> str:
    with pytest.raises(ContextValueError) as caught:
        encode({"order": [{"price": value}]}, saga_class)
    assert caught.value.path == "order[0].price"
    return str(caught.value)


@patiently
@given(contexts)
def test_everything_that_is_kept_comes_back_equal_and_of_the_same_types(value):
    text = codec.encode(value, max_bytes=1_000_000, saga_class=Knows)

    assert shape(codec.decode(text, Knows)) == shape(value)
    # jsonb gives the same values back in another spelling.
    assert shape(codec.decode(json.dumps(json.loads(text), indent=1), Knows)) == shape(value)


@patiently
@given(contexts)
def test_what_has_come_back_is_no_change_and_means_the_same(value):
    text = codec.encode(value, max_bytes=1_000_000, saga_class=Knows)
    back = codec.decode(text, Knows)

    assert changes({"v": back}, {"v": codec.copy_value(codec.decode(text, Knows))}, None) == {}
    assert codec.decode_plain(text) == plain_value(back)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("12.50"), '{"$sagaz.decimal":"12.50"}'),
        (Decimal("-0E+3"), '{"$sagaz.decimal":"-0E+3"}'),
        (UUID(int=255), '{"$sagaz.uuid":"00000000-0000-0000-0000-0000000000ff"}'),
        (datetime(2026, 1, 2, 3, 4, 5, 6), '{"$sagaz.datetime":"2026-01-02T03:04:05.000006"}'),
        (datetime(2026, 1, 2, tzinfo=UTC), '{"$sagaz.datetime":"2026-01-02T00:00:00+00:00"}'),
        (
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            '{"$sagaz.datetime":"2026-10-25T02:30:00+01:00[Europe/Berlin][_fold=1]"}',
        ),
        (date(2026, 1, 2), '{"$sagaz.date":"2026-01-02"}'),
        (time(3, 4), '{"$sagaz.time":"03:04:00"}'),
        (timedelta(days=1, seconds=7200), '{"$sagaz.timedelta":"P1DT7200S"}'),
        (timedelta(microseconds=-1), '{"$sagaz.timedelta":"-P0DT0.000001S"}'),
        (b"\x00\xff", '{"$sagaz.bytes":"AP8="}'),
        (Currency.EUR, '{"$sagaz.enum":["Currency","EUR"]}'),
        (Parcel.Size.LARGE, '{"$sagaz.enum":["Parcel.Size",{"$sagaz.timedelta":"P1DT0S"}]}'),
        ({"$sagaz.decimal": "1"}, '{"$$sagaz.decimal":"1"}'),
        ({"$$sagaz.x": "1"}, '{"$$$sagaz.x":"1"}'),
        ({"$sagaz.decimal": "1", "more": 2}, '{"$sagaz.decimal":"1","more":2}'),
        ({"$ref": "#/1"}, '{"$ref":"#/1"}'),
    ],
    ids=str,
)
def test_the_form_of_each_type_is_what_the_documentation_says(value, text):
    assert encode({"v": value}) == f'{{"v":{text}}}'
    assert shape(again(value)) == shape(value)


def test_a_row_of_an_earlier_version_is_read_as_it_was_written():
    text = '{"$ref":"#/1","a":{"$date":"2024-01-01"},"b":[{"$numberDecimal":"1"}],"c":{"$sagaz":1}}'

    assert codec.decode(text, Saga) == codec.decode_plain(text) == json.loads(text)


def test_a_context_without_other_types_is_written_and_digested_as_before():
    import hashlib

    text = encode({"b": "é", "a": [1, None], "$sagaz": "$sagaz."})

    assert text == '{"$sagaz":"$sagaz.","a":[1,null],"b":"é"}'
    before = hashlib.blake2b(f"OrderSaga\0{text}".encode(), digest_size=32).hexdigest()
    assert codec.fingerprint("OrderSaga", text) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal("10"), Decimal("1E+1")),
        (Decimal("0"), Decimal("-0.00")),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=BERLIN)),
        (datetime(2026, 1, 1, 12), datetime(2026, 1, 1, 12, fold=1)),
        (time(12, tzinfo=UTC), time(13, tzinfo=timezone(timedelta(hours=1)))),
    ],
    ids=str,
)
def test_equal_values_have_one_fingerprint_and_are_a_change_all_the_same(one, other):
    assert one == other
    digests = {codec.fingerprint("S", encode({"a": [{"v": value}, Currency.EUR]})) for value in (one, other)}
    assert len(digests) == 1
    assert changes({"v": one}, {"v": other}, None) == {"v": other}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1"), Decimal("10")),
        (Decimal("1"), Decimal("-1")),
        (Decimal("1"), 1),
        (Decimal("1"), "1"),
        (Decimal("1"), {"$sagaz.decimal": "1"}),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12)),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=BERLIN)),
        (Currency.EUR, "EUR"),
        (Currency.EUR, Currency.USD),
        (time(1), time(1, tzinfo=UTC)),
        (b"1", "1"),
    ],
    ids=str,
)
def test_other_values_and_other_types_have_other_fingerprints(one, other):
    assert codec.fingerprint("S", encode({"v": one})) != codec.fingerprint("S", encode({"v": other}))
    assert changes({"v": one}, {"v": other}, None) == {"v": other}


class Odd(tzinfo):
    """A zone that repeats an hour, and tells it by the fold."""

    def utcoffset(self, moment):
        return timedelta(hours=1 if moment is not None and moment.fold else 2)

    def dst(self, moment):
        return timedelta(0)


class Broken(tzinfo):
    def utcoffset(self, moment):
        raise RuntimeError("hunter2")


class Vague(enum.Enum):
    ONE = 1

    @classmethod
    def _missing_(cls, value):
        return cls.ONE


class Strange(enum.Enum):
    ONE = (1, 2)


class Unfindable(enum.Enum):
    def __new__(cls, value):
        member = object.__new__(cls)
        member._value_ = [value]
        return member

    ONE = 1

    @property
    def value(self):
        return 2


@dataclasses.dataclass(frozen=True)
class Mass:
    kilograms: int


class Planet(enum.Enum):
    EARTH = Mass(5)
    MOONS = [Mass(1)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "NaN"),
        (Decimal("Infinity"), "infinities"),
        (b"x" * 65_537, "65,537 bytes, and 65,536 are kept"),
        (datetime(2026, 1, 1, tzinfo=Odd()), "does not tell the same moment again; pass .astimezone(UTC)"),
        (datetime(2026, 1, 1, tzinfo=Broken()), "cannot be written: RuntimeError"),
        (Strange.ONE, "tuple is not one of JSON's types"),
        (Unfindable.ONE, "not found by its value"),
        (Planet.EARTH, "a member of the enum Planet whose value is a model; pass its name"),
        (Planet.MOONS, "a member of the enum Planet whose value is a model; pass its name"),
    ],
    ids=[
        "nan", "snan", "infinity", "bytes", "zone that repeats", "zone that raises", "tuple", "unfindable", "model",
        "models",
    ],
)  # fmt: skip
def test_what_would_not_come_back_equal_is_refused_with_its_path(value, reason):
    assert reason in refusal(value)


def test_the_largest_bytes_are_kept():
    assert again(b"x" * 65_536) == b"x" * 65_536


def test_a_zone_of_another_kind_comes_back_as_its_offset():
    class Fixed(tzinfo):
        def utcoffset(self, moment):
            return timedelta(hours=3)

    moment = again(datetime(2026, 1, 1, 12, tzinfo=Fixed()))

    assert moment == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert moment.tzinfo == timezone(timedelta(hours=3))


def test_a_zone_whose_rules_have_changed_keeps_the_moment():
    moment = codec.decode('{"v":{"$sagaz.datetime":"2026-01-01T12:00:00+05:00[Europe/Berlin]"}}')["v"]

    assert moment == datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert moment.tzinfo is BERLIN


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ('{"$sagaz.decimal":"x"}', "has not the form"),
        ('{"$sagaz.decimal":1}', "has not the form"),
        ('{"$sagaz.uuid":"1"}', "has not the form"),
        ('{"$sagaz.datetime":"2026-01-01T00:00:00[Mars/Base]"}', "Mars/Base is not known on this machine"),
        ('{"$sagaz.datetime":"2026-01-01T00:00:00[../../etc/passwd]"}', "has not the form"),
        ('{"$sagaz.date":"yesterday"}', "has not the form"),
        ('{"$sagaz.timedelta":"P999999999DT99999S"}', "has not the form"),
        ('{"$sagaz.timedelta":"1"}', "has not the form"),
        ('{"$sagaz.bytes":"§"}', "has not the form"),
        ('{"$sagaz.enum":"EUR"}', "has not the form"),
        ('{"$sagaz.enum":["os.system","x"]}', "'os.system', which the module of Saga has not"),
        ('{"$sagaz.enum":["Currency","DM"]}', "has not in this deployment"),
        ('{"$sagaz.set":[]}', "this version does not know"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_nothing_of_it_imported(tag, reason):
    with pytest.raises(ContextValueError, match="stored") as caught:
        codec.decode(f'{{"v":{tag}}}', Saga)
    assert reason in str(caught.value)
    assert caught.value.__cause__ is None or "passwd" not in str(caught.value.__cause__)


def test_a_whole_context_that_is_one_value_is_none():
    with pytest.raises(ContextValueError, match="expected an object"):
        codec.decode('{"$sagaz.decimal":"1"}')


# Enums


def test_a_member_of_an_enum_that_the_sagas_module_has_not_is_refused_by_name():
    class Local(enum.Enum):
        ONE = 1

    assert "the module of Saga has no enum of this name" in refusal(Local.ONE)
    assert "import Local there, or pass .value" in refusal(Local.ONE)
    assert "where no saga is known; pass .value" in refusal(Currency.EUR, None)


def test_two_enums_of_one_name_are_refused():
    module = sys.modules["two_shops"] = ModuleType("two_shops")
    try:
        kinds = [enum.Enum("State", {"NEW": 1}, module=f"shop{n}") for n in (1, 2)]
        module.one, module.other = kinds  # type: ignore[attr-defined]
        saga_class = type("Shop", (), {"__module__": "two_shops"})
        assert "another enum of this name" in refusal(kinds[0](1), saga_class)
        assert "another enum of this name" in refusal(kinds[1](1), saga_class)
        del module.other  # type: ignore[attr-defined]
        assert encode({"s": kinds[0](1)}, saga_class) == '{"s":{"$sagaz.enum":["State",1]}}'
        assert "another enum of this name" in refusal(kinds[1](1), saga_class)
    finally:
        del sys.modules["two_shops"]


def test_a_saga_knows_the_enums_of_its_bases_modules():
    class Derived(Saga):
        __module__ = "elsewhere"

    assert codec.decode(encode({"c": Currency.EUR}, Derived), Derived) == {"c": Currency.EUR}


def test_a_reader_without_a_saga_gets_the_values_of_members():
    text = encode({"c": Currency.EUR, "s": [Parcel.Size.LARGE], "d": Decimal("1.0")})

    assert codec.decode(text) == {"c": "EUR", "s": [timedelta(days=1)], "d": Decimal("1.0")}
    assert type(codec.decode(text)["c"]) is str


# Models


class Item(pydantic.BaseModel):
    sku: str
    price: Decimal


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: UUID
    items: list[Item]
    secret: str = pydantic.Field("hunter2", exclude=True)
    note: str = pydantic.Field("n", alias="Note")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.items)


class Items(pydantic.RootModel[list[Item]]): ...


@dataclasses.dataclass
class Address:
    street: str
    since: date = date(2026, 1, 1)


@attrs.define
class Customer:
    name: str
    address: Address


def test_models_are_written_as_dicts_of_their_fields():
    order = Order(id=UUID(int=1), items=[Item(sku="a", price="1.50")], extra_one=1)  # type: ignore[call-arg,arg-type]
    fields = {
        "id": UUID(int=1),
        "items": [{"sku": "a", "price": Decimal("1.50")}],
        "note": "n",
        "extra_one": 1,
    }

    assert codec.decode(encode(order)) == fields
    assert codec.decode(encode({"o": [order], "i": Items(order.items)})) == {"o": [fields], "i": fields["items"]}
    customer = Customer("Ada", Address("Elm"))
    assert codec.decode(encode(customer)) == {
        "name": "Ada",
        "address": {"street": "Elm", "since": date(2026, 1, 1)},
    }


def test_what_a_model_has_and_is_not_kept_is_refused_with_its_path():
    @dataclasses.dataclass
    class Basket:
        tags: set[str]
        later: str = dataclasses.field(init=False)

    with pytest.raises(ContextValueError, match="cannot be read"):
        encode({"b": Basket({"a"})})
    basket = Basket({"a"})
    basket.later = "x"
    with pytest.raises(ContextValueError) as caught:
        encode({"b": [basket]})
    assert caught.value.path == "b[0].tags"


def test_a_model_inside_itself_is_refused():
    @dataclasses.dataclass
    class Node:
        next: Any = None

    node = Node()
    node.next = node
    with pytest.raises(ContextValueError, match="deeper than 30 levels"):
        encode({"n": node})


def test_other_types_cannot_explode_either():
    tree: list[Any] = [Decimal(1)]
    for _ in range(27):
        tree = [tree] * 10
    with pytest.raises(ContextValueError, match="more than 20,000 bytes"):
        codec.encode({"a": tree}, max_bytes=10_000)
    with pytest.raises(ContextValueError, match="bytes as JSON, and 10,000"):
        codec.encode({"a": [Decimal("1" * 10_000)]}, max_bytes=10_000)


def test_a_part_that_is_shared_without_a_cycle_is_written_twice_and_a_cycle_is_refused():
    part = [Decimal(1)]
    assert codec.decode(encode({"a": part, "b": [part, part]})) == {"a": part, "b": [part, part]}
    part.append(part)  # type: ignore[arg-type]
    with pytest.raises(ContextValueError, match="this list is inside itself"):
        encode({"a": part})


# Who reads


def test_readers_that_do_not_ask_for_types_get_texts():
    text = encode({"p": Decimal("1.50"), "c": [Currency.EUR], "d": {"$sagaz.date": 1}, "b": b"\xff"})

    assert codec.decode_plain(text) == {"p": "1.50", "c": ["EUR"], "d": {"$sagaz.date": 1}, "b": "/w=="}


def test_secrets_are_masked_in_values_of_all_types():
    tree = json.loads(
        encode(
            {
                "card_number": Decimal("4111111111111111"),
                "shown": [Decimal("1.0"), b"plain"],
                "headers": [[b"authorization", b"abc"], [b"accept", b"Bearer abcdefgh"]],
                "pair": {"name": b"api-key", "value": UUID(int=1)},
            }
        )
    )

    assert masked(tree) == {
        "card_number": MASK,
        "shown": [{"$sagaz.decimal": "1.0"}, {"$sagaz.bytes": "cGxhaW4="}],
        "headers": [[{"$sagaz.bytes": "YXV0aG9yaXphdGlvbg=="}, MASK], [{"$sagaz.bytes": "YWNjZXB0"}, MASK]],
        "pair": {"name": {"$sagaz.bytes": "YXBpLWtleQ=="}, "value": MASK},
    }


def test_the_place_of_a_character_is_found_beside_other_types():
    assert likeliest_path([encode({"a": Decimal(1), "b": [{"c": "日"}], "d": Currency.USD})]) == "b[0].c"

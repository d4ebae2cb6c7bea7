"""What may be in a saga's context, what may not, and what a user is told."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import time
import uuid
from collections import OrderedDict, namedtuple
from types import MappingProxyType

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_durable.serialization import codec
from sagaz_integration_core.errors import ContextValueError

LIMIT = 1_048_576

patiently = settings(deadline=None, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def encode(value) -> str:
    return codec.encode(value, max_bytes=LIMIT)


def refusal(value, path: str, *, max_bytes: int = LIMIT) -> str:
    """The message, after checking that it begins with the path, and that results are refused alike."""
    with pytest.raises(ContextValueError) as caught:
        codec.encode(value, max_bytes=max_bytes)
    with pytest.raises(ContextValueError) as other:
        codec.encode_result(value, max_bytes=max_bytes)
    assert caught.value.path == other.value.path == path
    assert str(caught.value).startswith(path or "the saga's context")
    assert str(other.value).startswith(path or "the step's result")
    return str(caught.value)


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e16, 1e16, exclude_min=True, exclude_max=True).filter(lambda x: x != 0 or math.copysign(1, x) > 0)
    | texts
)
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)
contexts = st.dictionaries(texts, trees)


def shape(value):
    """The value with the exact type of everything in it."""
    if isinstance(value, dict):
        return dict, {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return list, [shape(item) for item in value]
    return type(value), value


@patiently
@given(contexts)
def test_what_is_accepted_comes_back_equal_and_of_the_same_types(value):
    text = encode(value)

    assert shape(codec.decode(text)) == shape(value)
    assert "\\u0000" not in text.replace("\\\\", "")
    # jsonb gives the same values back in another spelling.
    assert shape(codec.decode(json.dumps(json.loads(text), indent=1))) == shape(value)


@patiently
@given(contexts, st.randoms(use_true_random=False))
def test_the_order_of_keys_makes_no_difference(value, random):
    def shuffled(item):
        if isinstance(item, list):
            return [shuffled(inner) for inner in item]
        if isinstance(item, dict):
            return {key: shuffled(item[key]) for key in random.sample(list(item), len(item))}
        return item

    assert encode(shuffled(value)) == encode(value)
    assert codec.fingerprint("Saga", encode(shuffled(value))) == codec.fingerprint("Saga", encode(value))


@patiently
@given(contexts)
def test_a_copy_is_equal_and_shares_no_container(value):
    copied = codec.copy_value(value)
    before = encode(value)

    def spoil(item):
        for inner in item.values() if isinstance(item, dict) else item:
            if isinstance(inner, dict | list):
                spoil(inner)
        item.clear()

    assert shape(copied) == shape(value)
    spoil(copied)
    assert encode(value) == before


def test_a_copy_takes_what_is_no_json_as_it_is():
    thing = object()

    assert codec.copy_value({"a": [thing]})["a"][0] is thing
    assert codec.copy_value(thing) is thing


def test_one_and_true_and_one_point_nought_are_three_values():
    assert len({codec.fingerprint("Saga", encode({"n": n})) for n in (1, True, 1.0)}) == 3


def test_the_text_is_compact_sorted_and_readable():
    assert encode({"b": "é", "a": [1, None]}) == '{"a":[1,null],"b":"é"}'


class Colour(enum.Enum):
    RED = "red"


class Size(enum.StrEnum):
    LARGE = "large"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Address:
    street: str


class Order(pydantic.BaseModel):
    id: int


class Whole(pydantic.RootModel[list[int]]): ...


class Text(str): ...


class Number(int): ...


class Real(float): ...


class Rows(list): ...


class Price(decimal.Decimal): ...


class Moment(datetime.datetime): ...


class Id(uuid.UUID): ...


class Blob(bytes): ...


class Mine:
    def __repr__(self) -> str:
        return "hunter2"


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (Price("1.10"), "Price is not one of JSON's types; pass decimal.Decimal(...)"),
        (Moment(2024, 1, 1), "pass datetime.fromisoformat(....isoformat())"),
        (Id(int=1), "Id is not one of JSON's types; pass uuid.UUID(str(...))"),
        (Blob(b"x"), "pass bytes(...)"),
        (Colour.RED, "pass .value"),
        (Size.LARGE, "pass .value"),
        (Level.HIGH, "pass .value"),
        ((1, 2), "tuple is not one of JSON's types; pass list(...)"),
        (Pair(1, 2), "pass list(...)"),
        ({1}, "pass sorted(...)"),
        (frozenset(), "pass sorted(...)"),
        (bytearray(), "pass bytes(...)"),
        (Address, "type is not one of JSON's types"),
        (Order, "ModelMetaclass is not one of JSON's types"),
        (ValueError("hunter2"), "pass str(...)"),
        (Text("x"), "pass str(...)"),
        (Number(1), "pass int(...)"),
        (Real(1), "pass float(...)"),
        (Rows(), "pass list(...)"),
        (OrderedDict(), "pass dict(...)"),
        (Mine(), "Mine is not one of JSON's types; pass its id"),
        (1j, "complex is not one of JSON's types"),
        (pydantic.HttpUrl("https://a.example"), "HttpUrl is not one of JSON's types; pass str(...)"),
        (pydantic.PostgresDsn("postgresql://a/b"), "pass str(...)"),
        (pydantic.SecretStr("hunter2"), "keep the secret elsewhere and pass its id"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_type_that_json_has_not_is_refused_with_the_way_to_convert_it(value, hint):
    text = refusal({"order": {"items": [1, {"price": value}]}}, "order.items[1].price")

    assert hint in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "NaN and infinities are not JSON"),
        (math.inf, "NaN and infinities are not JSON"),
        (-math.inf, "NaN and infinities are not JSON"),
        (-0.0, "negative zero"),
        (1e16, "1e16 or more"),
        (-1.5e300, "1e16 or more"),
        (2**63, "beyond 64 bits"),
        (-(2**63) - 1, "beyond 64 bits"),
        ("a\0b", "NUL"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_a_value_that_some_store_would_bend_is_refused(value, reason):
    assert reason in refusal({"items": [value]}, "items[0]")


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 9999999999999998.0, 5e-324, 0.0, "\\u0000", "\U0001f600", ""])
def test_a_value_just_inside_the_limits_is_kept(value):
    assert codec.decode(encode({"n": value}))["n"] == value


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (1, "a key is of type int"),
        (None, "a key is of type NoneType"),
        (True, "a key is of type bool"),
        ((1, 2), "a key is of type tuple"),
        (Text("x"), "a key is of type Text"),
        (Size.LARGE, "a key is of type Size"),
    ],
    ids=str,
)
def test_a_key_that_is_no_string_is_refused(key, reason):
    assert reason in refusal({"a": [{"b": {key: 1}}]}, "a[0].b")
    assert reason in refusal({key: 1}, "")


@pytest.mark.parametrize(
    ("key", "path", "reason"),
    [
        ("a\0", 'x["a\\u0000"]', "NUL"),
        ("\ud800", 'x["\\ud800"]', "lone surrogate"),
        ("k" * 16_384, f'x["{"k" * 60}..."]', "16,384 characters"),
    ],
    ids=["nul", "surrogate", "length"],
)
def test_a_string_that_no_store_takes_as_a_key_is_refused(key, path, reason):
    assert reason in refusal({"x": {key: 1}}, path)


def test_a_path_is_written_as_in_python():
    assert refusal({"odd key": {"x": [[{1}]]}}, '["odd key"].x[0][0]')
    assert refusal({"": {"é": {"0": {1}}}}, '[""]["\\u00e9"]["0"]')


@pytest.mark.parametrize(
    ("kind", "around", "part"), [(dict, lambda tree: {"a": tree}, ".a"), (list, lambda tree: [tree], "[0]")]
)
def test_thirty_levels_of_dicts_or_lists_are_kept_and_one_more_is_refused(kind, around, part):
    tree = kind()
    for _ in range(28):
        tree = around(tree)
    assert codec.decode(encode({"a": tree})) == {"a": tree}

    assert "deeper than 30 levels" in refusal({"a": around(tree)}, "a" + part * 29)


def test_a_cycle_is_refused_where_it_closes():
    own: list = []
    own.append(own)
    one: dict = {}
    other = {"back": [0, one]}
    one["forth"] = other

    assert "this list is inside itself" in refusal({"x": {"items": own}}, "x.items[0]")
    assert "JSON has no cycles" in refusal({"x": one}, "x.forth.back[1]")
    one.clear()
    one["self"] = one
    assert "this dict is inside itself" in refusal(one, "self")


def test_a_part_that_is_shared_without_a_cycle_is_written_twice():
    part = {"n": 1}

    assert codec.decode(encode({"a": part, "b": [part, part]})) == {"a": part, "b": [part, part]}


def test_shared_parts_cannot_explode():
    tree: list = []
    for _ in range(28):
        tree = [tree] * 10

    began = time.perf_counter()
    refusal({"a": tree}, "", max_bytes=10_000)
    refusal({"a": ["x" * 5_000] * 1_000_000}, "", max_bytes=10_000)
    assert time.perf_counter() - began < 5


def test_a_context_of_the_allowed_size_is_kept_and_a_larger_one_refused():
    exact = {"a": "é" * 46}
    assert len(encode(exact).encode()) == 100
    codec.encode(exact, max_bytes=100)

    text = refusal(exact, "", max_bytes=99)

    assert "100 bytes" in text
    assert "99 are allowed (SAGAZ_MAX_CONTEXT_BYTES)" in text


def test_a_far_too_large_context_is_refused_without_being_written():
    assert "more than 200 bytes" in refusal({"a": "x" * 500}, "", max_bytes=100)


def test_any_mapping_may_be_a_context_and_is_left_as_it_was():
    for value in (MappingProxyType({"b": 1, "a": 2}), OrderedDict(b=1, a=2)):
        assert encode(value) == '{"a":2,"b":1}'
        assert list(value) == ["b", "a"]


@pytest.mark.parametrize("value", [None, [], "{}", Order, Address, Whole([1])])
def test_what_is_no_mapping_is_no_context(value):
    assert "expected a dict" in refusal(value, "")


def test_without_the_encoders_own_c_function_the_text_is_the_same(monkeypatch):
    tree = {"b": [1, 2.5, None, True, 'ü"\n'], "a": {"z": {}, "y": []}}
    assert codec._writer() is not codec._ENCODER.encode
    assert codec._writer()(tree) == codec._ENCODER.encode(tree)
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert codec._writer()(tree) == codec._ENCODER.encode(tree)


@pytest.mark.parametrize("text", ['{"a":1}', ' {"a": 1}', '{"a":1}\n'])
def test_text_that_a_person_wrote_with_blanks_is_read(text):
    assert codec.decode(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "{", "{}{}", "{} x", "[]", "null", "1"])
def test_text_that_is_no_object_is_refused_without_being_shown(text):
    with pytest.raises(ContextValueError, match="expected an object"):
        codec.decode(text)


def test_saga_id_is_refused_with_what_to_use_instead():
    with pytest.raises(ContextValueError) as caught:
        codec.check_reserved({"a": 1, "saga_id": "x"})
    assert caught.value.path == "saga_id"
    assert str(caught.value).startswith("saga_id: it is set by the runtime; ")
    assert "pass saga_id= or idempotency_key= instead" in str(caught.value)


@pytest.mark.parametrize("key", ["__x", "__reserve_completed", "__"])
def test_keys_of_sagaz_are_refused_by_name(key):
    with pytest.raises(ContextValueError, match=key):
        codec.check_reserved({key: 1})


def test_other_keys_are_free():
    codec.check_reserved({"_x": 1, "saga": 2, "order": {"saga_id": 3, "__x": 4}, 1: 2})


def test_what_is_held_many_times_is_measured_as_often():
    line = [""] * 1_000
    for value in ({"a": [line] * 20_000}, {"a": [[{}] * 1_000] * 2_000}, {"a": [[None] * 1_000] * 1_000}):
        assert "more than 2,097,152 bytes" in refusal(value, "", max_bytes=1_048_576)


def test_a_measure_never_refuses_what_fits():
    for value in ({"a": ["", "x", {}, [], {"": ""}, 1, -1, 0.5, True, None]}, {}, {"a": []}, {"äö": "日本"}):
        text = encode(value)
        assert codec.encode(value, max_bytes=len(text.encode())) == text

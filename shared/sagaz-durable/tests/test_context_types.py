"""Declared contexts: what of a class is refused at its registration, and what of values is told, and where."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import pydantic
import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.contexts.misfit import Misfit
from sagaz_durable.contexts.models import as_values, model_of
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_integration_core.errors import SagaDefinitionError

OrderId = NewType("OrderId", str)


class Currency(enum.Enum):
    EUR = "EUR"


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal
    parent: Line | None = None


class Note(TypedDict):
    text: str
    by: NotRequired[str]


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name", min_length=1)
    vip: bool = False


@attrs.define
class Basket:
    _lines: list[Line]
    open: bool = True


@dataclasses.dataclass
class Everything:
    id: OrderId
    n: int
    f: float
    day: date
    at: datetime
    uuid: UUID
    kind: Literal["a", 1]
    currency: Currency
    either: int | str
    lines: list[Line]
    by_name: dict[str, Annotated[Decimal, "positive"]]
    several: Sequence[int]
    some: Mapping[str, Any]
    note: Note
    customer: Customer
    basket: Basket
    maybe: Line | None
    nothing: None
    anything: Any
    version: ClassVar[int] = 1
    later: str = "later"
    made: str = dataclasses.field(init=False, default="made")


GOOD: dict[str, Any] = {
    "id": "o-1",
    "n": 1,
    "f": 1,
    "day": date(2026, 1, 1),
    "at": datetime(2026, 1, 1),
    "uuid": UUID(int=1),
    "kind": 1,
    "currency": Currency.EUR,
    "either": "x",
    "lines": [{"sku": "a", "price": Decimal(1), "parent": {"sku": "b", "price": Decimal(2)}}],
    "by_name": {"a": Decimal(1)},
    "several": [1],
    "some": {"a": [1]},
    "note": {"text": "t"},
    "customer": {"name": "Ada"},
    "basket": {"_lines": []},
    "maybe": None,
    "nothing": None,
    "anything": [1, "x"],
}


def built(kind, values):
    model = model_of(kind)
    assert model is not None
    return model.build(values)


def misfit(kind, values) -> str:
    with pytest.raises(Misfit) as caught:
        built(kind, values)
    return str(caught.value)


def test_a_dataclass_is_built_of_its_fields_with_the_models_inside_of_it():
    made = built(Everything, GOOD)

    assert made.lines == [Line("a", Decimal(1), Line("b", Decimal(2)))]
    assert made.customer == Customer(Name="Ada")
    assert made.basket == Basket([])
    assert (made.note, made.f, type(made.f), made.later) == ({"text": "t"}, 1.0, float, "later")
    assert built(Everything, as_values(made)) == made


def test_what_is_built_shares_nothing_with_what_it_is_built_of():
    values = {"sku": "a", "lines": [[1]]}

    @dataclasses.dataclass
    class Loose:
        sku: str
        lines: list[Any]

    built(Loose, values).lines[0].append(2)
    assert values == {"sku": "a", "lines": [[1]]}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n": True}, "n: expected int, got bool"),
        ({"n": 1.0}, "n: expected int, got"),
        ({"f": "1"}, "f: expected float, got"),
        ({"day": datetime(2026, 1, 1)}, "day: expected date, got"),
        ({"kind": "1"}, "kind: expected one of 'a', 1"),
        ({"kind": True}, "kind: expected one of"),
        ({"currency": "EUR"}, "currency: expected Currency, got"),
        ({"either": 1.5}, "either: expected int or str, got"),
        ({"lines": {}}, "lines: expected list, got"),
        ({"lines": [{"sku": 1, "price": "1"}]}, "lines[0].sku: expected str, got"),
        ({"lines": [{"sku": "a", "price": "1.5"}]}, "lines[0].price: expected Decimal, got"),
        ({"lines": [{"sku": "a"}]}, "lines[0].price: it is missing; Line has no default for it"),
        ({"lines": [{"sku": "a", "price": Decimal(1), "x": 1}]}, "lines[0].x: Line has no such field"),
        ({"lines": ["a"]}, "lines[0]: expected Line, got str"),
        ({"by_name": {"a b": 1}}, 'by_name["a b"]: expected Decimal'),
        ({"some": []}, "some: expected dict, got"),
        ({"note": {"by": "x"}}, "note.text: it is missing"),
        ({"customer": {"name": ""}}, "customer"),
        ({"customer": 1}, "customer: expected Customer, got int"),
        ({"maybe": {"sku": "a", "price": 1}}, "maybe.price: expected Decimal"),
        ({"nothing": 0}, "nothing: expected None"),
        ({"odd": 1}, "odd: Everything has no such field"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_with_its_path_and_what_was_expected(changed, told):
    assert told in misfit(Everything, GOOD | changed)


def test_a_misfit_tells_where_the_first_one_sits_and_keeps_no_values_for_its_repr():
    misfit = Misfit(((("lines", 0, "price"), "expected a number"), (("n",), "expected an int")))
    assert misfit.path == "lines[0].price"
    assert str(misfit) == "lines[0].price: expected a number; n: expected an int"
    assert repr(misfit) == "Misfit()"


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


def test_a_field_of_whatever_type_takes_every_value():
    assert model_of(Box).build({"content": [1, {"a": 2}]}) == Box([1, {"a": 2}])


def test_everything_that_does_not_fit_is_told_and_no_value():
    text = misfit(Line, {"sku": 4711, "price": "hunter2"})

    assert text.startswith("sku: expected str, got int; price: expected Decimal, got str")
    assert "hunter2" not in text
    assert "4711" not in text


def test_a_pydantic_model_converts_as_it_says_by_name_and_by_alias():
    for values in ({"name": "Ada", "vip": "yes"}, {"Name": "Ada", "vip": "yes"}):
        assert built(Customer, values) == Customer(Name="Ada", vip=True)
    assert misfit(Customer, {"name": ""}) == "name: String should have at least 1 character"


def test_before_pydantic_has_names_beside_aliases_values_are_given_by_the_aliases():
    class Older(pydantic.BaseModel):
        name: str = pydantic.Field(alias="Name")
        n: int = 0

        @classmethod
        def model_validate(cls, obj):  # type: ignore[override]
            return super().model_validate(obj)

    for values in ({"name": "Ada", "n": 1}, {"Name": "Ada", "n": 1}):
        assert built(Older, values) == Older(Name="Ada", n=1)


def test_what_a_class_says_itself_is_told():
    @dataclasses.dataclass
    class Even:
        n: int

        def __post_init__(self):
            if self.n % 2:
                raise ValueError("n must be even")

    assert misfit(Even, {"n": 1}) == "ValueError: n must be even"


class Tags(TypedDict):
    tags: set[str]


@dataclasses.dataclass
class Inner:
    tags: tuple[str, ...]


@dataclasses.dataclass
class Outer:
    inner: list[Inner]


class Excluded(pydantic.BaseModel):
    secret: str = pydantic.Field(exclude=True)


class Whole(pydantic.RootModel[dict[str, int]]): ...


@dataclasses.dataclass
class Numbered:
    by_number: dict[int, str]


class Swapped(pydantic.BaseModel):
    net: int = pydantic.Field(alias="gross")
    gross: int = 0


class Chosen(pydantic.BaseModel):
    total: int = pydantic.Field(validation_alias=pydantic.AliasChoices("sum", pydantic.AliasPath("amounts", 0)))
    amounts: list[int]


@dataclasses.dataclass
class Holder:
    inner: list[Swapped]


@dataclasses.dataclass
class Initial:
    name: str
    secret: dataclasses.InitVar[str]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Swapped, "Swapped.net has the alias 'gross', which is another field's name"),
        (Holder, "Swapped.net has the alias 'gross', which is another field's name"),
        (Chosen, "Chosen.total has the alias 'amounts', which is another field's name"),
        (Initial, "Initial takes 'secret', which is no field and has no default"),
        (Box[int], r"Wrong.context is .*Box\[int\]; expected a class"),
        (Initial | None, "Wrong.context is .*Initial | None; expected a class"),
        (Tags, r"Tags.tags: set\[str\] is not kept in contexts"),
        (Outer, r"Inner.tags: tuple\[str, \.\.\.\] is not kept"),
        (Numbered, "a dict with keys of type <class 'int'> is not kept"),
        (Excluded, "Excluded.secret has exclude=True"),
        (Whole, "Whole is a root model"),
        (dict, "Wrong.context is dict; expected a Pydantic model"),
        (Box(1), r"Wrong.context is an instance of Box; expected the class: context = Box\."),
        (Currency, "Wrong.context is Currency; expected a Pydantic model"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_type_whose_values_are_not_kept_is_refused_at_registration(kind, told):
    class Wrong(Saga):
        context = kind

        @action("one")
        async def one(self, ctx): ...

    with pytest.raises(SagaDefinitionError, match=told):
        SagaRegistry([Wrong])


@dataclasses.dataclass
class Order:
    order: str
    receipt: str | None = None


@dataclasses.dataclass
class Charged:
    order: str
    charge: str


@dataclasses.dataclass
class Charge:
    charge: str


@dataclasses.dataclass
class Other:
    charge: int


@dataclasses.dataclass
class Noted:
    charge: Annotated[str, ["as the provider", "has it"]]


class Maybe(TypedDict, total=False):
    charge: str


def saga(first: Any, second: Any, *, depends: bool = True, undo: bool = False) -> type[Saga]:
    """A saga whose first step returns, and whose second one, or its compensation, takes what these say."""

    async def charge(self, ctx): ...

    async def ship(self, ctx): ...

    charge.__annotations__ = {"return": first}
    ship.__annotations__ = {"ctx": second}

    async def recall(self, ctx): ...

    recall.__annotations__ = {"ctx": second}
    after = ["charge"] if depends else []
    last = _plain if undo else ship
    members = {"context": Order, "charge": action("charge")(charge), "ship": action("ship", depends_on=after)(last)}
    if undo:
        members["recall"] = compensate("ship")(recall)
    return type("Typed", (Saga,), members)


async def _plain(self, ctx): ...


@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        (None, Charged, {}),
        (Charge | None, Charged, {}),
        (Maybe, Charged, {}),
        (Charge, Charged, {"depends": False}),
        (None, Charged, {"undo": True}),
        (Charge, Charged, {"undo": True, "depends": False}),
    ],
    ids=str,
)
def test_a_field_without_a_default_that_nobody_provides_is_refused_at_registration(first, second, options):
    with pytest.raises(SagaDefinitionError, match="takes Charged, whose field 'charge' has no default, and neither"):
        SagaRegistry([saga(first, second, **options)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Charge, Charged),
        (Charge, dict),
        (Charge, dict[str, Any]),
        (Charge, Any),
        (None, Order),
        (Order, Order),
        (Noted, Charged),
    ],
    ids=str,
)
def test_what_is_provided_is_accepted(first, second):
    for undo in (False, True):
        SagaRegistry([saga(first, second, undo=undo)])


@pytest.mark.parametrize("name", ["saga_id", "__mine"])
def test_a_field_that_is_the_runtimes_own_is_refused_at_registration(name):
    class Own(Saga):
        context = TypedDict("Fields", {name: str})  # type: ignore[misc]

        @action("one")
        async def one(self, ctx): ...

    with pytest.raises(SagaDefinitionError, match=f"no field '{name}', which is the runtime's own"):
        SagaRegistry([Own])


def test_types_that_disagree_about_a_field_are_refused():
    with pytest.raises(
        SagaDefinitionError, match=r"Charged.charge and Other.charge have different|Other.charge and Char"
    ):
        SagaRegistry([saga(Other, Charged)])


@pytest.mark.parametrize(("second", "told"), [(int, "takes <class 'int'>; expected Order"), ("Nowhere", "Nowhere")])
def test_a_step_that_takes_something_else_is_refused(second, told):
    with pytest.raises(SagaDefinitionError, match=told):
        SagaRegistry([saga(None, second)])


def test_an_attribute_of_this_name_that_is_no_class_is_the_sagas_own():
    class Own(Saga):
        def context(self): ...

        @action("one")
        async def one(self, ctx): ...

    registry = SagaRegistry([Own])
    assert registry.get("Own").types is None

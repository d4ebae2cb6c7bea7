"""Records are dataclasses: compared and shown by their fields, and to be replaced, not changed."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, field, is_dataclass, replace
from typing import ClassVar

import pytest

from sagaz_integration_core.contract.record import record


@record
class Card:
    """What a test makes."""

    number: str = field(repr=False)
    holder: str = "Ada"
    seen: int = field(default=0, compare=False)


@record
class OtherCard:
    """Has the same fields."""

    number: str
    holder: str = "Ada"
    seen: int = 0


@record
class Named:
    """Says itself what it is."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named)

    def __hash__(self) -> int:
        return 1


def test_a_record_is_a_dataclass_with_slots():
    card = Card("4111")
    assert is_dataclass(card)
    assert asdict(replace(card, holder="Bob")) == {"number": "4111", "holder": "Bob", "seen": 0}
    with pytest.raises(AttributeError):
        card.limit = 7


def test_records_are_compared_by_what_is_to_be_compared_and_by_their_class():
    assert Card("4111", seen=1) == Card("4111", seen=2)
    assert len({Card("4111", seen=1), Card("4111", seen=2), Card("4112")}) == 2
    assert Card("4111") != Card("4111", "Bob")
    assert Card("4111") != OtherCard("4111")
    assert Card("4111").__eq__("4111") is NotImplemented


def test_what_is_not_to_be_shown_is_not():
    assert repr(Card("4111", "Bob")) == "Card(holder='Bob', seen=0)"


def test_what_a_record_says_itself_stays():
    assert repr(Named("a")) == "<a>"
    assert Named("a") == Named("b")
    assert hash(Named("a")) == 1


@record
class Purse:
    """Has one of each kind of fields."""

    owner: str
    cards: list[Card] = field(default_factory=list)
    coins: int = 0


def test_fields_are_given_in_order_or_by_name_or_have_their_default():
    assert Purse("Ada", [Card("4111")], 3) == Purse(coins=3, cards=[Card("4111")], owner="Ada")
    assert Purse("Ada") == Purse("Ada", [], 0)
    assert Purse("Ada", None).cards is None
    assert Purse("Ada").cards is not Purse("Ada").cards


@pytest.mark.parametrize("again", [False, True])
def test_what_is_not_given_or_not_known_is_named(again):
    @record
    class Coin:
        value: int

    if again:
        Coin(1)
    with pytest.raises(TypeError, match=r"Coin\.__init__\(\) missing 1 required positional argument: 'value'"):
        Coin()
    with pytest.raises(TypeError, match=r"Coin\.__init__\(\) got an unexpected keyword argument 'weight'"):
        Coin(value=1, weight=2)


def test_a_class_that_inherits_from_a_record_is_made_like_it():
    class Note(Purse):
        pass

    assert (Note("Ada", coins=2).owner, Purse("Bob").coins) == ("Ada", 0)


def test_what_a_record_cannot_have_is_refused():
    @record
    class ByName:
        _: KW_ONLY
        name: str

    @record
    class Shared:
        name: str
        kinds: ClassVar[int] = 1

    @record
    class Left:
        name: str = field(default="", init=False)

    @record
    class Checked:
        name: str

        def __post_init__(self):
            raise AssertionError

    for kind in (ByName, Shared, Left, Checked):
        with pytest.raises(TypeError, match=rf"Make .*{kind.__name__} a dataclass"):
            kind(name="a")

"""Records are dataclasses: compared and shown by their fields, and to be replaced, not changed."""

from __future__ import annotations

from dataclasses import asdict, field, is_dataclass, replace

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

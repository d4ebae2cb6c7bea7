"""Texts of other people's exceptions and values: they never raise, and what they show cannot forge a line."""

from __future__ import annotations

import asyncio
import sys
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaz_integration_core.error_text import error_text, message_of, message_text, type_name, value_text, visible


class Text(str):
    """A text that does as it likes."""

    def __getitem__(self, key):
        raise ZeroDivisionError

    def __format__(self, spec):
        raise ZeroDivisionError

    __len__ = __iter__ = __str__ = __eq__ = isprintable = encode = replace = __getitem__
    __hash__ = str.__hash__


class Nameless(type):
    @property
    def __name__(cls):
        raise SystemExit

    @property
    def __class__(cls):
        raise SystemExit


def raising(what):
    def __str__(self):
        raise what

    return type("Hostile", (Exception,), {"__str__": __str__, "__repr__": __str__})()


def endless():
    def __str__(self):
        return str(self)

    return type("Hostile", (Exception,), {"__str__": __str__})()


def returning(what):
    return type("Hostile", (Exception,), {"__str__": lambda self: what, "__repr__": lambda self: what})()


def lying():
    class Hostile(Exception):
        @property
        def __class__(self):
            raise SystemExit

    return Hostile("a")


HOSTILE = {
    "raises": lambda: raising(ValueError("secret")),
    "raises itself": lambda: raising(raising(raising(KeyError()))),
    "leaves the interpreter": lambda: raising(SystemExit(3)),
    "closes a generator": lambda: raising(GeneratorExit()),
    "cancels": lambda: raising(asyncio.CancelledError()),
    "calls itself": endless,
    "no text": lambda: returning(3),
    "None": lambda: returning(None),
    "a text of its own": lambda: returning(Text("a")),
    "lies about its class": lying,
    "raises what lies about its class": lambda: raising(lying()),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("text_of", [error_text, message_text, value_text, type_name])
def test_no_exception_keeps_its_text_from_being_made(make, text_of):
    text = text_of(make())
    assert type(text) is str
    assert "secret" not in text


def test_a_text_that_cannot_be_made_names_what_was_raised_instead():
    assert error_text(raising(ZeroDivisionError())) == "Hostile: <str() raised ZeroDivisionError>"
    assert value_text(raising(ZeroDivisionError())) == "<repr() raised ZeroDivisionError>"


def test_a_class_that_hides_its_name_is_named():
    hidden = Nameless("Hidden", (Exception,), {})
    assert error_text(hidden("a")) == "Hidden: a"


def test_a_class_whose_name_has_line_breaks_or_is_endless_is_named_on_a_short_line():
    assert error_text(type("A\nB\u202e", (Exception,), {})("c")) == r"A\nB\u202e: c"
    assert error_text(type(Text("A"), (Exception,), {})("c")) == "A: c"
    assert len(error_text(type("A" * 100_000, (Exception,), {})("c"))) < 300


def test_ctrl_c_while_a_text_is_made_stops_the_main_thread_and_no_other_one():
    hostile, texts = raising(KeyboardInterrupt()), []
    with pytest.raises(KeyboardInterrupt):
        error_text(hostile)
    thread = threading.Thread(target=lambda: texts.append(error_text(hostile)))
    thread.start()
    thread.join(10)
    assert texts == ["Hostile: <str() raised KeyboardInterrupt>"]


@pytest.mark.parametrize("character", ["a", "\n", "\x00", "\u202e", "\ud800", "\U000e0041"])
def test_texts_are_bounded(character):
    for text in (
        error_text(Exception(character * 100_000)),
        value_text(character * 100_000),
        value_text([character] * 100_000),
    ):
        assert len(text) <= 2_000
        assert text.endswith("…")


def test_a_message_comes_back_from_its_text():
    assert message_of(error_text(ValueError("a: b"))) == "a: b"
    assert message_of(error_text(ValueError())) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2J\x9b1m\x07", r"\x1b[2J\x9b1m\x07"),
        ("\u2028\u2029\x85\x0b", r"\u2028\u2029\x85\x0b"),
        ("user\u202etxt.exe\u2066", r"user\u202etxt.exe\u2066"),
        ("a\x00\ud83db\ufeff\u200b", r"a\x00\ud83db\ufeff\u200b"),
    ],
)
def test_what_could_forge_a_line_is_visible(text, shown):
    assert visible(text) == message_text(Exception(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["naïve café", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👨\u200d👩\u200d👧", r"C:\new", "日本\u3000語"],
)
def test_what_people_write_stays_as_it_is(text):
    assert visible(text) == text


def test_no_control_or_format_character_of_unicode_is_passed_through():
    passed = [chr(n) for n in range(sys.maxunicode + 1) if visible(chr(n)) == chr(n)]
    kinds = {unicodedata.category(c) for c in passed if c not in "\u200c\u200d"}
    assert kinds.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert {"Ll", "Zs", "So"} <= kinds


@given(st.text())
def test_every_text_becomes_one_storable_line(text):
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert "\x00" not in shown
    assert shown.encode().decode() == shown
    assert visible(shown) == shown

"""What exceptions and values of others are, whatever they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sagaz_durable.calls.foreign import cause_of, chain, is_a, is_awaitable, is_unread, members, sent
from sagaz_integration_core.errors import StepError


@dataclass(frozen=True)
class Frozen(Exception):
    code: str = "declined"


class Liar(ValueError):
    __class__ = KeyError  # type: ignore[assignment]


def test_an_exception_is_of_the_class_that_it_was_made_of():
    assert is_a(Liar(), ValueError)
    assert not is_a(Liar(), KeyError, OSError)


def test_what_an_exception_came_from_is_its_cause_or_else_what_was_handled():
    cause, context = ValueError("cause"), ValueError("context")
    error = ValueError("error")
    error.__context__ = context
    assert cause_of(error) is context
    error.__cause__ = cause
    assert cause_of(error) is cause
    assert cause_of(cause) is None


def test_a_group_has_its_members_once_each_and_their_causes_only_in_its_chain():
    cause, one, other = ValueError("cause"), ValueError("one"), ValueError("other")
    one.__cause__ = cause
    inner = ExceptionGroup("inner", [one, other])
    group = ExceptionGroup("group", [inner, one, inner])
    assert sorted(map(str, members(group))) == sorted(map(str, [group, inner, one, other]))
    assert sorted(map(str, chain(group))) == sorted(map(str, [group, inner, one, other, cause]))


def test_an_exception_is_sent_as_it_is_and_one_that_refuses_that_by_its_text():
    error = ValueError("no")
    assert sent(error) is error
    stand_in = sent(Frozen())
    assert (type(stand_in), str(stand_in)) == (StepError, "Frozen")


async def coroutine(): ...


async def asynchronous():
    yield 1


@pytest.mark.parametrize(
    ("make", "awaitable", "unread"),
    [
        (coroutine, True, True),
        (lambda: (one for one in [1]), False, True),
        (asynchronous, False, True),
        (lambda: [1], False, False),
        (lambda: None, False, False),
    ],
)
def test_what_is_awaited_or_iterated_over_does_nothing_by_itself(make, awaitable, unread):
    value = make()
    assert (is_awaitable(value), is_unread(value)) == (awaitable, unread)
    getattr(value, "close", lambda: None)()


@pytest.mark.parametrize("leaves", [KeyboardInterrupt, SystemExit])
def test_a_process_that_is_told_to_stop_while_a_value_is_asked_stops(leaves):
    class Odd:
        @property
        def __class__(self):
            raise leaves

    with pytest.raises(leaves):
        is_awaitable(Odd())

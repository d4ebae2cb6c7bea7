"""Exceptions, results, hooks and listeners whose own code raises: a step has failed then, or nothing has happened."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import Mock

import pytest
from sagaz import RecoveryAction, Saga, action, compensate, forward_recovery

from sagaz_durable.sagas import Sagas
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import LeaseLost, RunInterrupted, RunWaiting, StepError

embedded = pytest.mark.parametrize("settings", ["memory", "sqlite"], indirect=True)
"""What is said of a hostile object is a text like any other by the time when a store gets it."""


async def only_run(runtime):
    [record] = await runtime.store.find(RunFilter())
    return record


async def journal(runtime):
    steps = await runtime.store.load_steps((await only_run(runtime)).saga_id)
    return {(step.step, step.phase): step.status for step in steps}


# Exceptions.


def raising(name, base=Exception):
    """An exception whose attribute of this name raises when somebody looks."""

    def refuse(self):
        raise LookupError(name)

    return type(f"No{name.strip('_').title()}", (base,), {name: property(refuse)})


class NoText(RuntimeError):
    def __str__(self):
        raise LookupError("text")


class NoTruth(Exception):
    def __bool__(self):
        raise LookupError("truth")


class Nothing(Exception):
    def __len__(self):
        return 0


@dataclass(frozen=True)
class Frozen(Exception):
    code: str = "declined"


@dataclass
class Unequal(RuntimeError):
    """As a dataclass it is not hashable, and compares its fields."""

    code: str = "declined"

    def __eq__(self, other):
        raise LookupError("equality")


class NoMembers(ExceptionGroup):
    exceptions = None  # type: ignore[assignment]


class WildAttributes(Exception):
    def __getattribute__(self, name):
        raise LookupError(name)


def from_another(error):
    error.__cause__ = Unequal()
    return error


def with_notes(notes):
    error = ValueError("noted")
    error.__notes__ = notes
    return error


def deep_group():
    error = ExceptionGroup("deep", [ValueError("no")])
    for _ in range(3_000):
        error = ExceptionGroup("deep", [error])
    return error


def shared_group():
    error = ExceptionGroup("shared", [ValueError("no")])
    for _ in range(60):
        error = ExceptionGroup("shared", [error, error])
    return error


def in_a_circle():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


WILD = {
    "text": NoText,
    "class": raising("__class__"),
    "cause": raising("__cause__"),
    "context": raising("__context__"),
    "traceback": raising("__traceback__"),
    "attributes": WildAttributes,
    "equality": lambda: from_another(Unequal()),
    "truth": NoTruth,
    "false": Nothing,
    "frozen": Frozen,
    "members": lambda: NoMembers("no", [ValueError("no")]),
    "notes": lambda: with_notes([1, "a note"]),
    "no-notes": lambda: with_notes(7),
    "deep": deep_group,
    "shared": shared_group,
    "circle": in_a_circle,
}


def order(step, undo):
    """A saga whose second step, and the compensation of the first, are these functions; called in both ways."""

    class Order(Saga):
        retry_steps = True

        @action("reserve")
        async def reserve(self, ctx): ...

        release = compensate("reserve")(undo)
        charge = action("charge", depends_on=["reserve"], max_retries=1)(step)

    return Order


def forms(function):
    async def asynchronous(self, ctx):
        return function()

    def plain(self, ctx):
        return function()

    return {"async": asynchronous, "plain": plain}


def nothing():
    """Do nothing."""


def throw(error):
    raise error


@embedded
@pytest.mark.parametrize("form", ["async", "plain"])
@pytest.mark.parametrize("kind", WILD)
async def test_whatever_exception_a_step_raises_it_has_failed_and_the_caller_gets_it(runtime, kind, form):
    error, calls = WILD[kind](), []
    step = forms(lambda: calls.append("charge") or throw(error))[form]
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - Whatever it is.
        await Sagas(runtime).run(order(step, forms(nothing)["async"]), {})
    assert caught.value is error
    assert (await only_run(runtime)).status == "rolled_back"
    assert await journal(runtime) == {
        ("reserve", "do"): "done", ("charge", "do"): "failed", ("reserve", "undo"): "done",
    }  # fmt: skip
    assert calls == ["charge", "charge"], "it is tried again as it was declared"


@embedded
@pytest.mark.parametrize("form", ["async", "plain"])
@pytest.mark.parametrize("kind", WILD)
async def test_whatever_exception_a_compensation_raises_it_has_failed(runtime, kind, form):
    error = WILD[kind]()
    step, undo = forms(lambda: throw(ValueError("no van")))["async"], forms(lambda: throw(error))[form]
    with pytest.raises(ValueError, match="no van"):
        await Sagas(runtime).run(order(step, undo), {})
    record = await only_run(runtime)
    assert record.status == "failed"
    assert "compensation of 'reserve'" in record.error


class NoException(BaseException):
    @property
    def __class__(self):
        raise LookupError("class")


@pytest.mark.parametrize("form", ["async", "plain"])
async def test_what_is_no_exception_and_cannot_be_asked_is_the_steps_failure_too(runtime, form):
    step = forms(lambda: throw(NoException("odd")))[form]
    with pytest.raises(StepError, match="raised NoException: odd"):
        await Sagas(runtime).run(order(step, forms(nothing)["async"]), {})
    assert (await only_run(runtime)).status == "rolled_back"


async def test_a_frozen_exception_is_noted_all_the_same(runtime):
    with pytest.raises(Frozen) as caught:
        await Sagas(runtime).run(order(forms(lambda: throw(Frozen()))["async"], forms(nothing)["async"]), {})
    assert any("ended as rolled_back" in note for note in caught.value.__notes__)


async def test_a_long_chain_of_causes_is_looked_through_once(runtime):
    first = error = ValueError("0")
    for number in range(100_000):
        error.__cause__ = ValueError(str(number))
        error = error.__cause__
    try:
        with pytest.raises(ValueError, match="0"):
            await Sagas(runtime).run(order(forms(lambda: throw(first))["plain"], forms(nothing)["async"]), {})
    finally:
        # Python lets go of such a chain by recursion.
        while first is not None:
            first.__cause__, first = None, first.__cause__


# How a step ends beside what it raises.


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("no answer")], ids=type)
async def test_a_step_that_cancels_its_own_task_and_raises_has_failed_by_what_it_raised(runtime, error):
    async def step(self, ctx):
        asyncio.current_task().cancel()
        raise error

    with pytest.raises(type(error)):
        await Sagas(runtime).run(order(step, forms(nothing)["async"]), {})
    record = await only_run(runtime)
    assert (record.status, record.attempt) == ("rolled_back", 1)


async def test_a_compensation_that_cancels_its_own_task_and_raises_has_failed_by_what_it_raised(runtime):
    async def undo(self, ctx):
        asyncio.current_task().cancel()
        raise ValueError("the bank is closed")

    with pytest.raises(ValueError, match="no van"):
        await Sagas(runtime).run(order(forms(lambda: throw(ValueError("no van")))["async"], undo), {})
    record = await only_run(runtime)
    assert (record.status, record.attempt) == ("failed", 1)
    assert "the bank is closed" in record.error


def cancelled():
    raise asyncio.CancelledError


def cancelled_beside_another():
    raise BaseExceptionGroup("all", [GeneratorExit(), TimeoutError("no answer")])


@pytest.mark.parametrize("form", ["async", "plain"])
@pytest.mark.parametrize("end", [cancelled, cancelled_beside_another])
async def test_a_step_whose_work_was_cancelled_or_got_no_answer_is_in_doubt_and_compensated(runtime, ledger, form, end):
    class Charged(Saga):
        charge = action("charge")(forms(end)[form])

        @compensate("charge")
        async def refund(self, ctx):
            ledger.append("refund")

    with pytest.raises(StepError):
        await Sagas(runtime).run(Charged, {})
    assert ledger == ["refund"]


def generator():
    yield "never"


async def async_generator():
    yield "never"


@pytest.mark.parametrize("form", ["async", "plain"])
@pytest.mark.parametrize("make", [generator, async_generator])
async def test_a_compensation_that_returns_what_nobody_iterates_over_has_failed(runtime, form, make):
    step, undo = forms(lambda: throw(ValueError("no van")))["async"], forms(make)[form]
    with pytest.raises(ValueError, match="no van"):
        await Sagas(runtime).run(order(step, undo), {})
    record = await only_run(runtime)
    assert record.status == "failed"
    assert "that nobody iterated over, so what it stands for was not done" in record.error


# What a step returns.


class NoClass:
    @property
    def __class__(self):
        raise LookupError("class")


class NoFields(type):
    def __getattr__(cls, name):
        raise LookupError(name)


class OfNoFields(metaclass=NoFields):
    pass


class NoEquality:
    def __hash__(self):
        return hash("input")

    def __eq__(self, other):
        raise LookupError("equality")


class Leaves:
    """What is no dict, and leaves whoever looks by more than an `Exception`."""

    @property
    def __class__(self):
        raise GeneratorExit


UNREADABLE = {
    "class": NoClass, "fields": OfNoFields, "no-dict": lambda: Mock(spec=dict), "keys": lambda: {NoEquality(): 1},
    "leaves": Leaves,
}  # fmt: skip


@pytest.mark.parametrize("form", ["async", "plain"])
@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_step_that_returns_what_cannot_be_read_has_failed_in_doubt(runtime, ledger, kind, form):
    class Odd(Saga):
        make = action("make")(forms(lambda: ledger.append("make") or UNREADABLE[kind]())[form])

        @compensate("make")
        async def unmake(self, ctx):
            ledger.append("unmake")

    with pytest.raises(StepError, match="Step 'make'"):
        await Sagas(runtime).run(Odd, {"input": 1})
    assert (await only_run(runtime)).status == "rolled_back"
    assert ledger == ["make", "unmake"], "it is called once, and undone"


async def test_a_handler_that_assigns_what_cannot_be_read_has_decided_nothing(runtime):
    class Shipped(Saga):
        @action("pay", pivot=True)
        async def pay(self, ctx): ...

        @action("ship", depends_on=["pay"])
        async def ship(self, ctx):
            raise ValueError("no van")

        @forward_recovery("ship")
        async def recover(self, ctx, error):
            ctx["odd"] = OfNoFields()
            return RecoveryAction.RETRY

    with pytest.raises(RunWaiting):
        await Sagas(runtime).run(Shipped, {"input": 1})
    [step] = [
        step for step in await runtime.store.load_steps((await only_run(runtime)).saga_id) if step.phase == "redo"
    ]
    assert "its handler changed the context, and it cannot be read: LookupError: __dataclass_fields__" in step.error


async def test_a_saga_whose_factory_leaves_by_more_than_an_exception_is_given_back_and_in_the_end_failed(
    settings, opened, ended
):
    class Made(Saga):
        @action("a")
        async def a(self, ctx): ...

    def factory():
        raise GeneratorExit("no database is configured")

    settings = replace(settings, max_failures=2)
    async with opened(settings, sagas=[(Made, factory)], worker=True) as runtime:
        record = await ended(runtime, await Sagas(runtime).start(Made, {}))
    assert record.status == "failed"
    assert "Saga 'Made' cannot be made: GeneratorExit: no database is configured" in record.error


@pytest.mark.parametrize("raised", [RunInterrupted, LeaseLost])
@pytest.mark.parametrize("where", ["factory", "scope"])
async def test_what_tells_of_another_run_is_counted_as_any_failure_of_ours(settings, opened, ended, where, raised):
    """It may have come out of one that was executed there: this one is neither interrupted nor lost."""

    class Made(Saga):
        @action("a")
        async def a(self, ctx): ...

    def factory():
        if where == "factory":
            raise raised("elsewhere")
        return Made()

    @contextmanager
    def scope():
        if where == "scope":
            raise raised("elsewhere")
        yield

    settings = replace(settings, max_failures=2)
    async with opened(settings, sagas=[(Made, factory)], worker=True, step_scope=scope) as runtime:
        record = await ended(runtime, await Sagas(runtime).start(Made, {}))
        assert [one.outcome for one in await runtime.store.load_attempts(record.saga_id)] == ["halted", "failed"]
    assert (record.status, record.attempt) == ("failed", 2)
    assert f"{raised.__name__}: elsewhere" in record.error


# Hooks and listeners.


class NoMethods:
    def __getattr__(self, name):
        raise LookupError(name)


class NoProperties:
    @property
    def on_saga_start(self):
        raise LookupError("on_saga_start")

    on_step_enter = on_step_success = on_step_failure = on_saga_start
    on_compensation_start = on_compensation_complete = on_saga_failed = on_saga_start


class RaisesTheUnspeakable:
    def on_saga_start(self, *values):
        raise NoException

    on_step_enter = on_step_success = on_step_failure = on_saga_start
    on_compensation_start = on_compensation_complete = on_saga_failed = on_saga_start


@pytest.mark.parametrize("listener", [NoMethods(), NoProperties(), RaisesTheUnspeakable()], ids=type)
async def test_a_listener_that_cannot_even_be_asked_neither_fails_nor_halts_a_run(runtime, listener):
    saga = order(forms(lambda: throw(ValueError("no van")))["async"], forms(nothing)["async"])
    saga.listeners = [listener]
    with pytest.raises(ValueError, match="no van"):
        await Sagas(runtime).run(saga, {})
    record = await only_run(runtime)
    assert (record.status, record.attempt) == ("rolled_back", 1)


async def test_hooks_that_raise_what_cannot_be_asked_skip_nothing(runtime, ledger):
    def hook(*values):
        raise NoException

    class Hooked(Saga):
        @action("reserve", on_enter=hook, on_success=hook, on_exit=hook)
        async def reserve(self, ctx):
            ledger.append("reserve")

        @compensate("reserve", on_compensate=hook)
        async def release(self, ctx):
            ledger.append("release")

        @action("charge", depends_on=["reserve"], on_enter=hook, on_failure=hook)
        async def charge(self, ctx):
            ledger.append("charge")
            raise ValueError("declined")

    with pytest.raises(ValueError, match="declined"):
        await Sagas(runtime).run(Hooked, {})
    record = await only_run(runtime)
    assert (record.status, record.attempt, ledger) == ("rolled_back", 1, ["reserve", "charge", "release"])

"""What is decided about a step, by its handler or by a person, as the journal and signals have it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from types import SimpleNamespace

import pytest

from sagaz_durable import Saga, action
from sagaz_durable.engine.recovery import people
from sagaz_durable.recovery import Recovery, action_of, decoded, encoded
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.waits import DECISIONS, WaitRecord
from sagaz_integration_core.errors import ContextValueError, InvalidInput


class Speed(Enum):
    FAST = "fast"


class Ship(Saga):
    saga_name = "ship"
    speed: Speed = Speed.FAST

    @action("ship")
    async def ship(self, ctx):
        """Nothing is shipped."""


WORDING = Wording(settings='SAGAZ["{name}"]')


def written(action, recovery, max_bytes=10_000):
    return encoded(action, recovery, max_bytes, WORDING, Ship)


def test_a_decision_is_read_as_it_was_written():
    recovery = Recovery(2, {"truck": "second", "at": 1.5})
    assert decoded(written("retry", recovery), Ship) == recovery
    assert decoded(written("retry", recovery), Ship) != Recovery(1, {"truck": "second", "at": 1.5})
    assert decoded(None, Ship) == Recovery(0, {})


def test_an_enum_of_the_saga_is_one_again_when_a_decision_is_read():
    assert decoded(written("retry", Recovery(1, {"speed": Speed.FAST})), Ship).changes == {"speed": Speed.FAST}


def test_changes_that_are_too_large_are_refused_in_the_words_of_the_framework_at_hand():
    with pytest.raises(ContextValueError, match=r'SAGAZ\["MAX_CONTEXT_BYTES"\]'):
        written("retry", Recovery(1, {"note": "x" * 200}), max_bytes=100)


@pytest.mark.parametrize("key", ["saga_id", "__step"])
def test_a_decision_cannot_change_what_belongs_to_the_runtime(key):
    with pytest.raises(ContextValueError, match=key):
        written("retry", Recovery(1, {key: "x"}))


@pytest.mark.parametrize(
    ("status", "result", "found"),
    [
        ("done", '{"action": "skip"}', "skip"),
        ("done", {"action": "skip"}, "skip"),
        ("started", '{"action": "skip"}', None),
        ("done", None, None),
        ("done", "", None),
        ("done", "{", None),
        ("done", '["skip"]', None),
        ("done", '{"action": 7}', None),
        ("done", '{"times": 1}', None),
    ],
)
def test_a_decision_is_open_until_its_entry_is_done_and_says_what(status, result, found):
    assert action_of(SimpleNamespace(status=status, result=result)) == found


def told(phase="redo", *, attempt=1, outcome="signal", payload='{"action": "skip"}', name=None, step="ship"):
    name = name or people.asked((step, phase), attempt).name
    return WaitRecord("run-1", step, phase, name, 0, None, None, datetime.now(UTC), outcome, attempt, payload)


def test_a_person_is_asked_under_another_name_in_each_attempt():
    first, second = people.asked(("ship", "redo"), 1), people.asked(("ship", "redo"), 2)
    assert first.name != second.name
    assert (first.step, first.phase, first.n) == ("ship", "redo", 0)


def test_the_latest_answer_of_a_person_counts():
    waits = [told(attempt=2, payload='{"action": "retry"}'), told(attempt=1)]
    assert people.answer(("ship", "redo"), waits) == {"action": "retry"}
    assert people.answer(("ship", "redo"), waits[::-1]) == {"action": "retry"}


@pytest.mark.parametrize(
    "wait",
    [
        told(step="charge"),
        told("undo"),
        told(outcome=None),
        told(outcome="timeout"),
        told(name="paid"),
        told(payload=None),
        told(payload='{"action": "dance"}'),
        people.asked(("ship", "redo"), 1),
    ],
)
def test_what_is_no_answer_about_a_call_decides_nothing(wait):
    assert people.answer(("ship", "redo"), [wait]) is None


def test_a_person_may_decide_what_the_phase_has():
    assert people.options("redo") == ("retry", "retry_alt", "skip", "compensate", "give_up")
    assert people.options("undo") == ("done", "run", "give_up")


NAME, UNDO = people.asked(("ship", "redo"), 1).name, people.asked(("ship", "undo"), 1).name


def test_a_signal_that_is_no_decision_may_say_anything():
    people.check_decision("paid", {"action": "dance"})


@pytest.mark.parametrize(
    ("name", "payload"),
    [(NAME, {"action": "retry_alt", "context": {"truck": 2}}), (NAME, {"action": "skip"}), (UNDO, {"action": "done"})],
)
def test_a_decision_that_says_what_is_taken(name, payload):
    people.check_decision(name, payload)


@pytest.mark.parametrize(
    ("name", "payload", "told"),
    [
        (NAME, {}, 'what is decided, with "context"'),
        (NAME, {"action": "done"}, "the step is called again"),
        (NAME, {"action": ["skip"]}, "has to say what is decided"),
        (NAME, {"action": "skip", "why": "late"}, "has to say what is decided"),
        (NAME, {"action": "retry", "context": [1]}, "no object of keys and values"),
        (NAME, {"action": "retry", "context": {"saga_id": "x"}}, "changes the context, and saga_id"),
        (UNDO, {"action": "skip"}, "somebody has compensated the step"),
        (UNDO, {"action": "done", "context": {}}, "has to say what is decided"),
        (f"{DECISIONS}dance:ship:1", {"action": "skip"}, "use the name that the run shows"),
    ],
)
def test_a_decision_that_says_nothing_or_too_much_is_refused(name, payload, told):
    with pytest.raises(InvalidInput, match=told):
        people.check_decision(name, payload)


def test_a_compensation_is_asked_about_without_changes_to_its_context():
    with pytest.raises(InvalidInput) as caught:
        people.check_decision(UNDO, {})
    assert "context" not in str(caught.value)

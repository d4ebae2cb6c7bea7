"""What a write tells of waits: once, and nothing that contradicts itself."""

from __future__ import annotations

from types import SimpleNamespace

from sagaz_durable.calls.waits import RunWaits
from sagaz_durable.engine.journal.wait_changes import WaitChanges
from sagaz_durable.testing.store_conformance.builders import LONG_AGO, wait
from sagaz_integration_core.contract.waits import WaitRecord


def over(step, name, outcome):
    return WaitRecord("run-1", step, "do", name, 0, None, None, LONG_AGO, outcome, 1)


def changes(*records):
    return WaitChanges(RunWaits(SimpleNamespace(waits=records)))


def test_what_is_told_is_told_once_and_nothing_where_nothing_has_changed():
    one = changes()
    assert one.taken() == {}
    one.add([wait()])
    assert one.taken() == {"waits": (wait(),), "left_waits": (), "missed_waits": (), "stops_waiting": False}
    assert one.taken() == {}


def test_a_wait_of_a_call_that_is_left_before_it_was_written_is_not_registered():
    one = changes()
    one.add([wait(), wait(step="b")])
    one.leave(("a", "do"))
    told = one.taken()
    assert (told["waits"], told["left_waits"]) == ((wait(step="b"),), (("a", "do"),))


def test_nor_is_one_that_nobody_waits_for_any_more():
    one = changes(over("a", "came", "signal"), over("a", "late", "timeout"), over("b", "", "timeout"))
    one.add([wait("next")])
    one.end_steps(is_kept=True)
    told = one.taken()
    assert (told["waits"], told["missed_waits"], told["stops_waiting"]) == ((), (("a", "do"),), True)
    assert told["left_waits"] == ()


def test_where_nothing_is_open_nothing_is_stopped():
    one = changes(over("a", "came", "signal"))
    one.end_steps(is_kept=True)
    assert one.taken() == {}
    one.end_steps(is_kept=False)
    assert one.taken()["left_waits"] == (("a", "do"),)

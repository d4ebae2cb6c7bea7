"""What a journal means: what may begin, what is to be undone, and which end is true."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sagaz_durable.engine.state import RunState, assess, passed_pivots, step_views
from sagaz_durable.graph import StepNode, graph_of
from sagaz_integration_core.errors import SagaDefinitionError


@dataclass(frozen=True)
class Noted:
    status: str
    compensated: bool = True
    error: str | None = None
    result: str | None = None


def chain(*names, pivot=None, compensated=True):
    nodes = [
        StepNode(name, tuple(names[i - 1 : i]) if i else (), compensated, name == pivot) for i, name in enumerate(names)
    ]
    return graph_of("Chain", tuple(nodes))


def done(*steps):
    return {(step, "do"): Noted("done") for step in steps}


def views(graph, direction, entries):
    return {name: (view.state, view.undo) for name, view in step_views(graph, direction, entries).items()}


ABC = chain("a", "b", "c")


def test_a_step_begins_when_its_own_dependencies_are_done_not_when_a_level_is():
    wide = graph_of(
        "Wide", (StepNode("slow"), StepNode("quick"), StepNode("after_quick", ("quick",)), StepNode("both", ("slow",)))
    )
    assert assess(wide, "forward", done("quick"), {("slow", "do")}).begin == (("after_quick", "do"),)


def test_a_step_whose_hooks_are_still_told_of_is_not_done_for_those_that_wait_for_it():
    assert assess(ABC, "forward", done("a"), {("a", "do")}) == RunState()


def test_a_pivot_waits_for_all_steps_of_the_levels_before_its_own():
    graph = graph_of("P", (StepNode("a"), StepNode("slow"), StepNode("pay", ("a",), pivot=True)))
    assert assess(graph, "forward", done("a"), {("slow", "do")}).begin == ()
    assert assess(graph, "forward", done("a", "slow")).begin == (("pay", "do"),)


@pytest.mark.parametrize("status", ["started", "failed", "in_doubt"])
def test_a_call_without_a_good_end_is_made_again_in_a_run_that_goes_forward(status):
    assert assess(ABC, "forward", {("a", "do"): Noted(status)}).begin == (("a", "do"),)


def test_a_run_has_completed_when_every_step_of_the_class_is_done_and_nothing_is_under_way():
    assert assess(ABC, "forward", done("a", "b", "c")).end == "completed"
    assert assess(ABC, "forward", done("a", "b", "c"), {("c", "do")}).end is None
    assert assess(ABC, "forward", done("a", "b")).end is None


def test_a_step_that_a_deployment_gained_is_called_before_what_depends_on_it_now():
    gained = chain("a", "y", "b", "c")
    state = assess(gained, "forward", {**done("a", "b"), ("c", "do"): Noted("started")})
    assert state.begin == (("y", "do"),)


def test_a_run_that_rolls_back_undoes_all_that_is_done_or_in_doubt_whatever_the_class_has_gained():
    gained = chain("a", "y", "b", "c")
    entries = {**done("a", "b"), ("c", "do"): Noted("started"), ("y", "do"): Noted("failed")}
    for step in ("c", "b", "a"):
        assert assess(gained, "back", entries) == RunState(((step, "undo"),))
        entries[step, "undo"] = Noted("done")
    assert assess(gained, "back", entries).end == "rolled_back"


def test_nothing_is_undone_while_a_step_is_under_way():
    assert assess(ABC, "back", done("a"), {("b", "do")}) == RunState()


def test_undoing_keeps_its_order_across_a_step_without_compensation():
    graph = graph_of("G", (StepNode("a", (), True), StepNode("b", ("a",)), StepNode("c", ("b",), True)))
    entries = {("a", "do"): Noted("done"), ("b", "do"): Noted("done", False), ("c", "do"): Noted("done")}
    assert assess(graph, "back", entries).begin == (("c", "undo"),)


def test_a_failed_step_is_not_undone_and_one_in_doubt_is():
    entries = {("a", "do"): Noted("in_doubt"), ("b", "do"): Noted("failed")}
    assert assess(ABC, "back", entries).begin == (("a", "undo"),)


def test_a_compensation_that_failed_leaves_the_run_failed_and_the_others_are_called_all_the_same():
    entries = {**done("a", "b"), ("b", "undo"): Noted("failed", error="OSError: away")}
    assert assess(ABC, "back", entries).begin == (("a", "undo"),)
    entries["a", "undo"] = Noted("done")
    assert assess(ABC, "back", entries) == RunState(end="failed", left=("compensation of 'b': OSError: away",))


def test_a_done_compensation_is_not_called_again_and_one_that_had_begun_is():
    entries = {**done("a", "b"), ("b", "undo"): Noted("done"), ("a", "undo"): Noted("started")}
    assert assess(ABC, "back", entries).begin == (("a", "undo"),)


@pytest.mark.parametrize("status", ["done", "in_doubt", "started"])
def test_a_compensation_that_the_deployment_has_lost_leaves_the_run_failed_and_is_named(status):
    graph = chain("a", "b", compensated=False)
    state = assess(graph, "back", {("a", "do"): Noted(status)})
    assert state.end == "failed"
    assert "step 'a' is not undone" in state.left[0]
    assert "no compensation of step 'a'" in state.left[0]


def test_a_step_that_the_deployment_has_renamed_leaves_a_run_that_rolls_back_failed_and_is_named():
    state = assess(chain("a", "renamed"), "back", {**done("b"), ("a", "do"): Noted("failed")})
    assert state.end == "failed"
    assert "this deployment has no step 'b'" in state.left[0]


def test_a_lost_step_without_compensation_leaves_the_run_failed_too_since_it_may_have_been_a_pivot():
    state = assess(chain("a"), "back", {("pay", "do"): Noted("done", compensated=False), ("a", "do"): Noted("failed")})
    assert state.end == "failed"
    assert "this deployment has no step 'pay'" in state.left[0]


def test_a_run_does_not_go_forward_where_the_class_lacks_a_step_that_was_called():
    assert assess(chain("a", "renamed"), "forward", done("a", "b")).unknown == ("b",)
    assert assess(chain("a"), "forward", {("b", "do"): Noted("failed")}).begin == (("a", "do"),)


def test_what_a_completed_pivot_depends_on_is_kept_and_the_rest_is_undone():
    graph = graph_of(
        "P",
        (
            StepNode("a", (), True),
            StepNode("beside", (), True),
            StepNode("pay", ("a",), True, pivot=True),
            StepNode("ship", ("pay",), True),
        ),
    )
    entries = {**done("a", "beside", "pay"), ("ship", "do"): Noted("in_doubt")}
    assert set(assess(graph, "back", entries).begin) == {("beside", "undo"), ("ship", "undo")}
    entries |= {("beside", "undo"): Noted("done"), ("ship", "undo"): Noted("done")}
    state = assess(graph, "back", entries)
    assert state == RunState(end="failed", left=("not rolled back behind the completed pivot pay",))
    assert passed_pivots(graph, entries) == ["pay"]
    assert views(graph, "back", entries) == {
        "a": ("kept", "uncalled"), "beside": ("done", "done"), "pay": ("kept", "uncalled"), "ship": ("in_doubt", "done")
    }  # fmt: skip


def test_a_pivot_in_doubt_is_undone_with_what_it_depends_on():
    graph = chain("a", "pay", pivot="pay")
    entries = {**done("a"), ("pay", "do"): Noted("in_doubt")}
    assert assess(graph, "back", entries).begin == (("pay", "undo"),)
    entries["pay", "undo"] = Noted("done")
    assert assess(graph, "back", entries).begin == (("a", "undo"),)


def test_people_are_told_the_state_of_each_step_also_of_those_that_only_the_journal_knows():
    entries = {**done("a"), ("b", "do"): Noted("started"), ("gone", "do"): Noted("in_doubt")}
    assert views(ABC, "forward", entries) == {
        "a": ("done", "uncalled"), "b": ("started", "uncalled"), "c": ("uncalled", "uncalled"),
        "gone": ("in_doubt", "uncalled"),
    }  # fmt: skip
    undos = {**entries, ("b", "undo"): Noted("failed")}
    assert views(ABC, "back", undos) == {
        "a": ("done", "owed"), "b": ("started", "failed"), "c": ("uncalled", "uncalled"), "gone": ("in_doubt", "lost")
    }  # fmt: skip


def test_people_are_told_of_no_compensation_where_a_step_has_none_and_had_none_when_it_was_called():
    bare = graph_of("Bare", (StepNode("a"), StepNode("b", ("a",)), StepNode("lost", ("b",))))
    entries = {("a", "do"): Noted("done", compensated=False), ("lost", "do"): Noted("done", compensated=True)}
    assert views(bare, "forward", entries) == {
        "a": ("done", None),
        "b": ("uncalled", None),
        "lost": ("done", "uncalled"),
    }
    assert views(bare, "back", entries) == {"a": ("done", None), "b": ("uncalled", None), "lost": ("done", "lost")}


def test_only_what_is_done_is_kept_by_a_pivot():
    graph = chain("gained", "pay", pivot="pay")
    entries = {**done("pay"), ("gained", "do"): Noted("in_doubt")}
    assert views(graph, "back", entries)["gained"] == ("in_doubt", "uncalled")


def test_what_was_undone_before_somebody_retried_does_not_hide_what_is_done():
    entries = {**done("a"), ("a", "undo"): Noted("failed"), **done("b")}
    assert assess(ABC, "forward", entries).begin == (("c", "do"),)


def test_a_run_has_no_end_while_a_compensation_that_is_done_is_still_told_of():
    entries = {**done("a"), ("a", "undo"): Noted("done")}
    assert assess(ABC, "back", entries, {("a", "undo")}) == RunState()
    assert assess(ABC, "back", entries).end == "rolled_back"


def test_a_compensation_that_a_deployment_has_gained_undoes_what_was_called_without_one():
    entries = {("a", "do"): Noted("done", compensated=False)}
    assert assess(ABC, "back", entries).begin == (("a", "undo"),)


def test_what_is_left_tells_why_each_compensation_has_no_good_end():
    lost = chain("a", "b", compensated=False)
    entries = {**done("a", "b"), ("a", "undo"): Noted("started"), ("b", "undo"): Noted("failed")}
    assert assess(lost, "back", entries).left == (
        "step 'a' is not undone: this deployment has no compensation of step 'a'; deploy it, and retry",
        "compensation of 'b': failed",
    )


def test_the_declared_order_does_not_depend_on_the_order_of_the_class():
    nodes = (StepNode("z"), StepNode("m", ("z",)), StepNode("a", ("z", "m")), StepNode("b"))
    assert list(graph_of("G", nodes).nodes) == list(graph_of("G", nodes[::-1]).nodes) == ["b", "z", "m", "a"]
    assert graph_of("G", nodes).ancestors["a"] == ("z", "m")


def test_a_circle_or_a_dependency_without_a_step_is_refused_by_name():
    with pytest.raises(SagaDefinitionError, match=r"in a circle: (a → b → a|b → a → b)"):
        graph_of("G", (StepNode("a", ("b",)), StepNode("b", ("a",))))
    with pytest.raises(SagaDefinitionError, match="Did you mean 'pay'"):
        graph_of("G", (StepNode("a", ("pya",)), StepNode("pay")))


PIVOTAL = graph_of(
    "Pivotal",
    (
        StepNode("reserve", (), True),
        StepNode("charge", ("reserve",), True, pivot=True),
        StepNode("ship", ("charge",), True, recovered=True),
        StepNode("notify", ("ship",)),
    ),
)


def failed_behind(**redo):
    entries = {**done("reserve", "charge"), ("ship", "do"): Noted("failed")}
    return entries | ({("ship", "redo"): Noted(**redo)} if redo else {})


def decided(what):
    return failed_behind(status="done", result=f'{{"action": "{what}", "times": 1, "changes": {{}}}}')


@pytest.mark.parametrize("status", ["started", "failed", "in_doubt", "waiting"])
def test_a_recovery_that_has_decided_nothing_is_called_before_its_step(status):
    assert assess(PIVOTAL, "forward", failed_behind(status=status)).begin == (("ship", "redo"),)


@pytest.mark.parametrize("busy", ["do", "redo"])
def test_a_step_and_its_recovery_are_not_under_way_at_once(busy):
    entries = failed_behind(status="started")
    assert assess(PIVOTAL, "forward", entries, {("ship", busy)}).begin == ()
    assert assess(PIVOTAL, "forward", entries, (), {("ship", busy)}) == RunState(waits=True)


@pytest.mark.parametrize("what", ["retry", "retry_alt", "give_up", "compensate", "else"])
def test_a_step_whose_recovery_has_decided_otherwise_than_to_skip_it_is_called_again_in_a_run_that_goes_forward(what):
    assert assess(PIVOTAL, "forward", decided(what)).begin == (("ship", "do"),)


def test_a_skipped_step_lets_those_go_on_that_depend_on_it_and_the_run_completes():
    assert assess(PIVOTAL, "forward", decided("skip"), {("ship", "redo")}).begin == ()
    assert assess(PIVOTAL, "forward", decided("skip")).begin == (("notify", "do"),)
    assert assess(PIVOTAL, "forward", decided("skip") | done("notify")).end == "completed"


def test_a_run_does_not_go_forward_where_the_class_lacks_a_step_about_which_is_yet_to_be_decided():
    lacking = chain("reserve", "charge")
    assert assess(lacking, "forward", failed_behind(status="waiting")).unknown == ("ship",)
    assert assess(lacking, "forward", decided("skip")).end == "completed"


def test_a_pivot_that_its_recovery_has_given_up_is_compensated_and_so_is_what_it_depends_on():
    entries = decided("compensate")
    assert passed_pivots(PIVOTAL, entries) == []
    for step in ("charge", "reserve"):
        assert assess(PIVOTAL, "back", entries) == RunState(((step, "undo"),))
        entries[step, "undo"] = Noted("done")
    assert assess(PIVOTAL, "back", entries).end == "rolled_back"


@pytest.mark.parametrize("what", ["retry", "skip", "give_up"])
def test_any_other_decision_keeps_the_pivot(what):
    assert assess(PIVOTAL, "back", decided(what)).end == "failed"
    assert passed_pivots(PIVOTAL, decided(what)) == ["charge"]


def test_a_pivot_of_another_branch_is_kept():
    graph = graph_of(
        "Two",
        (
            StepNode("charge", (), True, pivot=True),
            StepNode("ship", ("charge",), True),
            StepNode("sign", (), True, pivot=True),
        ),
    )
    assert passed_pivots(graph, decided("compensate") | done("sign")) == ["sign"]


def test_nothing_is_undone_while_a_recovery_is_under_way():
    assert assess(PIVOTAL, "back", failed_behind(status="started"), {("ship", "redo")}) == RunState()


def test_a_recovery_that_is_open_does_not_keep_a_run_from_rolling_back():
    assert assess(PIVOTAL, "back", failed_behind(status="waiting"), (), {("ship", "redo")}).end == "failed"


@pytest.mark.parametrize("direction", ["forward", "back"])
def test_people_are_told_how_a_step_behind_a_pivot_is_recovered(direction):
    def state(entries):
        return views(PIVOTAL, direction, entries)["ship"][0]

    assert state(failed_behind()) == "failed"
    assert state(failed_behind(status="waiting")) == ("recovering" if direction == "forward" else "failed")
    assert state(decided("skip")) == "skipped"
    assert state(decided("retry")) == "failed"
    assert state({("ship", "do"): Noted("done"), ("ship", "redo"): Noted("done", result="{}")}) == "done"


@pytest.mark.parametrize("result", [None, "", "no JSON", "[]", "{}", '{"action": 1}'])
def test_a_decision_that_was_erased_or_damaged_is_none(result):
    entries = failed_behind(status="done", result=result)
    assert assess(PIVOTAL, "forward", entries).begin == (("ship", "do"),)
    assert passed_pivots(PIVOTAL, entries) == ["charge"]

"""Changes of what decides: which are made, which of them a test notices, and what is told of the others."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code

from mutant_list import SOURCE, Mutant, mutants
from mutant_report import Outcome, Reasons, Results, report, sample, share_of
from mutants import Bench, drawn
from mutation_operators import OPERATORS
from warm_tests import HUNG

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [(operator, example) for operator in OPERATORS.values() for example in operator.examples()]


@pytest.mark.parametrize(("operator", "example"), EXAMPLES, ids=[f"{o.__name__}-{e.occurrence}" for o, e in EXAMPLES])
def test_our_own_changes_are_what_they_say(operator, example):
    assert mutate_code(example.pre_mutation_code, operator(), example.occurrence) == example.post_mutation_code


def sql(statement: str) -> list[str]:
    """Return all changes of a statement."""
    source, changed, number = f'S = """{statement}"""\n', [], 0
    while (code := mutate_code(source, OPERATORS["ChangeSql"](), number)) is not None:
        changed.append(code.removeprefix('S = """').removesuffix('"""\n'))
        number += 1
    return changed


def test_each_condition_of_a_fence_is_left_out_and_each_value_that_is_set():
    fence = "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE id = :id AND owner = :owner AND s IN ('x', 'y')"
    assert sql(fence) == [
        "UPDATE t SET b = coalesce(:b, b) WHERE id = :id AND owner = :owner AND s IN ('x', 'y')",
        "UPDATE t SET a = :a WHERE id = :id AND owner = :owner AND s IN ('x', 'y')",
        "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE id = :id AND s IN ('x', 'y')",
        "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE id = :id AND owner = :owner",
        "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE owner = :owner AND s IN ('x', 'y')",
        "UPDATE t SET a = :a, b = :b WHERE id = :id AND owner = :owner AND s IN ('x', 'y')",
        "UPDATE t SET a = :a, b = b WHERE id = :id AND owner = :owner AND s IN ('x', 'y')",
        "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE id = :id AND owner = :owner AND s IN ('x')",
        "UPDATE t SET a = :a, b = coalesce(:b, b) WHERE id = :id AND owner = :owner AND s IN ('y')",
    ]
    assert sql("SELECT 1 FROM t WHERE due <= ? ORDER BY due LIMIT ?") == [
        "SELECT 1 FROM t WHERE 1 = 1 ORDER BY due LIMIT ?",
        "SELECT 1 FROM t WHERE due <= ? LIMIT ?",
        "SELECT 1 FROM t WHERE due < ? ORDER BY due LIMIT ?",
    ]
    assert sql("CREATE TABLE t (id INTEGER) WHERE x = 1") == []
    assert sql("What SELECT leaves out.") == []


@pytest.fixture
def tree(tmp_path):
    """A tree with one module."""

    def write(code: str) -> Path:
        path = tmp_path / SOURCE / "room.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        return tmp_path

    return write


def test_each_change_is_made_once_and_known_again_where_it_has_moved_to(tree):
    code = "def f(x):\n    if x == 1:\n        raise\n    if x == 1:\n        raise\n"
    made = list(mutants(tree(code), "room.py"))
    assert len({one.code for one in made}) == len({one.key for one in made}) == len(made)
    assert [one.diff for one in made if one.operator == "LeaveOutStatement"] == ["- raise\n+ pass"] * 2
    assert "- if x == 1:\n+ if x != 1:" in [one.diff for one in made]
    moved = list(mutants(tree(f"# Moved.\n\n{code}"), "room.py"))
    assert [one.key for one in moved] == [one.key for one in made]


def test_what_says_nothing_about_behaviour_is_left_alone(tree):
    code = "@cache(size=1)\ndef f(a: int | None, *, b):\n    if TYPE_CHECKING:\n        pass\n    logger.info('x')\n"
    assert list(mutants(tree(code), "room.py")) == []


def test_every_room_has_modules_and_tests_that_are_there_and_reasons_are_of_one_kind():
    table = tomllib.loads((ROOT / "tools/mutants.toml").read_text())
    for room in table["rooms"].values():
        for module in room["modules"]:
            assert (ROOT / SOURCE / module).is_file(), module
        for test in room["tests"]:
            assert (ROOT / "shared/sagaz-durable/tests" / test.partition("::")[0]).exists(), test
    for reason in table.get("unnoticed", []):
        assert reason["kind"] in ("equivalent", "accepted")
        assert reason["why"]
        source = [line.strip() for line in (ROOT / SOURCE / reason["module"]).read_text().splitlines()]
        for change in reason["changes"]:
            removed = [line[2:] for line in change.strip().splitlines() if line.startswith("- ")]
            assert set(removed) <= set(source), f"what this changes is not there any more: {change}"


def mutant(diff: str, number: int = 0) -> Mutant:
    return Mutant("room.py", 7, "AddNot", diff, number, "code")


def test_results_are_kept_and_the_page_tells_how_many_were_noticed_and_why_others_were_not(tmp_path):
    reasons = Reasons([{"module": "room.py", "kind": "equivalent", "why": "It is the same.", "changes": ["- a\n+ b"]}])
    outcomes: list[Outcome] = ["killed", "hung", "survived", "equivalent"]
    tried = [(mutant(f"- {n}\n+ x"), outcome) for n, outcome in enumerate(outcomes[:3])]
    tried.append((mutant("- a\n+ b"), "equivalent"))
    results = Results(tmp_path / "results")
    for one, outcome in tried:
        assert results.of(one) is None
        results.note(one, outcome)
    assert [Results(tmp_path / "results").of(one) for one, _ in tried] == outcomes
    assert share_of(outcomes) == pytest.approx(2 / 3)
    untried = (mutant("- z\n+ y"), None)
    new = mutant("- z\n+ y")._replace(module="new.py")
    page = report("abc", [[*tried, untried, tried[2]], [(new, None), (new, "killed")]], reasons)
    assert "Not tried: `new.py`." in page
    assert "changed in 4 places, drawn by lot in each module from 8," in page
    assert "| `room.py` | 6 | 4 | 2 | 1 | 1 | 1 | 66.7 % |" in page
    assert "| **All** | 8 | 4 | 2 | 1 | 1 | 1 | 66.7 % |" in page
    assert "without a reason\n\n`room.py`\n\n```diff\n- 2\n+ x\n```" in page
    assert "`room.py`: It is the same.\n\n```diff\n- a\n+ b\n```" in page


def test_each_run_of_the_warm_tests_sees_the_sources_as_they_are_and_one_that_hangs_is_ended(tmp_path):
    test = tmp_path / "test_it.py"
    source = tmp_path / "it.py"
    test.write_text("import it\n\ndef test_any():\n    it.works()\n\ndef test_it():\n    assert it.works()\n")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tools/warm_tests.py")],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    ) as process:  # fmt: skip
        answers = []
        for body, first in (
            ("return True", []),
            ("return False", []),
            ("raise KeyError", []),
            ("raise KeyError", ["test_it.py::test_it"]),
            ("while True: pass", []),
            ("return True", []),
        ):
            source.write_text(f"def works():\n    {body}\n")
            assert process.stdin is not None
            assert process.stdout is not None
            print(
                json.dumps([["-q", "-x", "-pno:cacheprovider", "-c/dev/null", "--rootdir=."], 5, first]),
                file=process.stdin,
                flush=True,
            )
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()
    one, other = "test_it.py::test_any", "test_it.py::test_it"
    assert answers == [[0, ""], [1, other], [1, one], [1, other], [HUNG, ""], [0, ""]]


def test_changes_are_drawn_in_the_same_order_each_time_and_a_sample_ends_where_one_was_not_tried():
    changes = [mutant(f"- {n}\n+ x") for n in range(50)]
    assert drawn(changes) == drawn(changes) != changes
    assert set(drawn(changes)) == set(changes)
    outcomes: list[Outcome | None] = ["killed", "survived", None, "killed"]
    assert sample(zip(changes, outcomes, strict=False)) == [(changes[0], "killed"), (changes[1], "survived")]


def test_what_fails_late_is_tried_again_with_patience_for_it_may_have_been_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("mutants.TEST_SECONDS", 0.0)
    answers, asked = [1, 0, 1, 1, HUNG, HUNG], []

    class Patient(Bench):
        def __init__(self) -> None:
            self._folder = tmp_path

        def run(self, tests: list[str], seconds: float, patience: float = 1.0) -> int:
            asked.append((path.read_text(), seconds, patience))
            return answers.pop(0)

    path = tmp_path / SOURCE / "room.py"
    path.parent.mkdir(parents=True)
    path.write_text("before")
    became = [Patient().try_out(mutant("- a\n+ b"), [], 5) for _ in range(3)]
    assert became == ["survived", "killed", "hung"]
    assert asked == [("code", 5, 1.0), ("code", 15, 0.0)] * 3
    assert path.read_text() == "before"

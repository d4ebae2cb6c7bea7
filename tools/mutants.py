"""Change the rooms that decide, one place at a time, and tell which changes no test notices.

Usage: python tools/mutants.py [--jobs 2] [--results FILE] [--report FILE] [ROOM...]

The table of rooms, with the tests of each, and the reasons why a change may go unnoticed stand in tools/mutants.toml.
Changes are made by cosmic-ray to copies of the tree. What has a result in FILE already is not tried again.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from mutation_operators import OPERATORS
from warm_tests import HUNG

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "shared/sagaz-durable/src/sagaz_durable"
PATHS = ("shared/sagaz-durable/src", "shared/sagaz-integration-core/src", "shared/sagaz-durable/tests")

# Of the replacements of one operator by every other one, those that differ least; `|` stands in types.
CORE = re.compile(
    r"AddNot|NumberReplacer|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ZeroIteration\w+"
    r"|Replace(Break|Continue)With\w+|ExceptionReplacer|ReplaceUnaryOperator_(Delete_Not|USub_UAdd)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|BitAnd_BitOr)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Lt_GtE|Gt_LtE|GtE_Lt"
    r"|LtE_Gt)"
)

# Decorators, the star before parameters that are given by name, and what is changed by another operator too.
_IDLE = re.compile(
    r"^\w+ @|Mul_Div .*\*,|^AddNot (if|elif|while) (not [\w.]+|[^ ]+ (==|!=|<|<=|>|>=|is|is not|in|not in) [^ ]+):$"
)


class Mutant(NamedTuple):
    """One change: by its place in the sources, and as the lines that it removes and adds."""

    room: str
    module: str
    line: int
    operator: str
    diff: str
    code: str

    @property
    def key(self) -> str:
        """What tells it from all others, whatever stands around it."""
        return f"{self.module}\n{self.diff}"


def mutants(room: str, module: str) -> Iterator[Mutant]:
    """Return all changes of one module, the same change only once; what a decorator is given is left alone."""
    source = (ROOT / SOURCE / module).read_text()
    lines = source.splitlines()
    seen = {source}
    for name, operator in _operators():
        positions = [
            start for node in ast_nodes(get_ast(source)) for start, _ in operator().mutation_positions(node)
        ]  # fmt: skip
        for occurrence, (line, _) in enumerate(positions):
            code = mutate_code(source, operator(), occurrence)
            if code is not None and code not in seen and not _IDLE.search(f"{name} {lines[line - 1].strip()}"):
                seen.add(code)
                yield Mutant(room, module, line, name, _diff(source, code), code)


def _operators() -> Iterator[tuple[str, Any]]:
    for name in cosmic_ray.plugins.OPERATOR_PROVIDERS["core"]:
        if CORE.fullmatch(name):
            yield name, cosmic_ray.plugins.get_operator(f"core/{name}")
    yield from OPERATORS.items()


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if re.match(r"[+-](?![+-]{2})", line))


class Bench:
    """A copy of the tree, and a process that runs its tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for path in (*PATHS, "conftest.py", "pytest.ini"):
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / path, folder / path)
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(str(folder / path) for path in PATHS[:2]),
            "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / "warm_tests.py")],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, tests: list[str], seconds: float) -> int:
        """Run tests on what is there now; return pytest's exit code."""
        options = ["-q", "-x", "--assert=plain", "--timeout=10", "-pno:cacheprovider", "--basetemp=tmp"]
        options += [f"-p{plugin}" for plugin in ("anyio", "pytest_timeout", "hypothesispytest")]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([options + tests, seconds]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def try_out(self, mutant: Mutant, tests: list[str], seconds: float) -> int:
        """Run tests on a change; return pytest's exit code."""
        path = self._folder / SOURCE / mutant.module
        before = path.read_text()
        path.write_text(mutant.code)
        try:
            return self.run(tests, seconds)
        finally:
            path.write_text(before)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def tests_of(room: dict[str, Any]) -> list[str]:
    """Return what pytest is given for a room."""
    folder = Path("shared/sagaz-durable/tests")
    named = [str(folder / test) for test in room["tests"]]
    return [*named, *(["-k", room["only"]] if "only" in room else [])]


def run_room(name: str, room: dict[str, Any], benches: list[Bench], results: Results) -> None:
    """Try all changes of a room that have no result yet."""
    todo = [one for module in room["modules"] for one in mutants(name, module) if results.lacks(one)]
    if not todo:
        return
    tests = tests_of(room)
    began = time.monotonic()
    if code := benches[0].run(tests, 600):
        sys.exit(f"{name}: the tests fail without any change (exit code {code}): pytest {' '.join(tests)}")
    took = time.monotonic() - began
    print(f"{name}: {len(todo)} changes, the tests take {took:.1f} s", flush=True)
    free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
    for bench in benches:
        free.put(bench)

    def try_one(mutant: Mutant) -> None:
        bench = free.get()
        try:
            results.note(mutant, bench.try_out(mutant, tests, 10 + 3 * took))
        finally:
            free.put(bench)

    with ThreadPoolExecutor(len(benches)) as pool:
        list(pool.map(try_one, todo))


class Results:
    """What became of each change, kept in a file of JSON lines."""

    def __init__(self, path: Path, reasons: list[dict[str, str]]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reasons = {f"{one['module']}\n{one['diff'].strip()}": one for one in reasons}
        lines = path.read_text().splitlines() if path.exists() else []
        self.all: dict[str, dict[str, Any]] = {(one := json.loads(line))["key"]: one for line in lines}

    def lacks(self, mutant: Mutant) -> bool:
        """Whether a change is to be tried; those with a reason never are, for they take longest."""
        if mutant.key in self._reasons:
            self.all[mutant.key] = _record(mutant, "reason")
            return False
        return self.all.get(mutant.key, {}).get("outcome", "reason") == "reason"

    def note(self, mutant: Mutant, code: int) -> None:
        """Keep one."""
        outcome = {0: "survived", HUNG: "hung"}.get(code, "killed")
        # A worker that cannot collect anything has tested nothing.
        record = _record(mutant, "error" if code == 5 else outcome)
        with self._lock, self._path.open("a") as file:
            self.all[mutant.key] = record
            print(json.dumps(record), file=file)
        if outcome == "survived":
            print(f"survived: {mutant.module}:{mutant.line} {mutant.operator}\n{mutant.diff}\n", flush=True)

    def reason(self, record: dict[str, Any]) -> dict[str, str] | None:
        """Return why a change may go unnoticed."""
        return self._reasons.get(record["key"])


def _record(mutant: Mutant, outcome: str) -> dict[str, Any]:
    return {"key": mutant.key, "outcome": outcome, **mutant._asdict(), "code": ""}


def main() -> None:
    """Run the rooms, and write the report."""
    table = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=list(table["rooms"]))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    results = Results(options.results, table.get("survivors", []))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        benches = [Bench(Path(folder) / str(n)) for n in range(options.jobs)]
        for bench in benches:
            stack.callback(bench.close)
        for name in options.rooms:
            run_room(name, table["rooms"][name], benches, results)


if __name__ == "__main__":
    main()

"""Change the rooms that decide, one place at a time, and tell which changes their fast tests do not notice.

Usage: python tools/mutants.py [--jobs 2] [--sample N] [--results FILE] [--report FILE] [ROOM...]

The rooms, with the tests of each, and the reasons why a change may go unnoticed stand in tools/mutants.toml. Changes
are made to copies of the tree. What has a result in FILE already is not tried again. Changes are tried in an order that
is drawn by lot, the same one each time: after N of each module, or whenever it is broken off, a run has made an even
sample. Exits 1 when fewer than nine in ten of what is not equivalent were noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "shared/sagaz-durable/tests"))

from mutant_list import SOURCE, Mutant, mutants
from mutant_report import Outcome, Reasons, Results, report, sample, share_of
from warm_tests import HUNG

ROOT = Path(__file__).resolve().parents[1]
TESTS = Path("shared/sagaz-durable/tests")
COPIED = ("shared/sagaz-durable/src", "shared/sagaz-integration-core/src", str(TESTS), "conftest.py", "pytest.ini")
PLUGINS = ("anyio", "pytest_timeout", "hypothesispytest")
ENOUGH = 0.9
TEST_SECONDS = 10.0
"""How long one test may take. A machine that is busy may need more: what takes longer is tried again, for longer."""


class Bench:
    """A copy of the tree, and a process that runs its tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for path in COPIED:
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / path, folder / path)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(folder / path) for path in COPIED[:2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [sys.executable, str(ROOT / "tools" / "warm_tests.py")]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process: subprocess.Popen[str] = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
        # What failed often comes first: it will do so again.
        self._failed = Counter[str]()

    def run(self, tests: list[str], seconds: float, patience: float = TEST_SECONDS) -> int:
        """Run tests on what is there now; return pytest's exit code."""
        options = ["-q", "-x", "--assert=plain", f"--timeout={patience:g}", "-pno:cacheprovider", "--basetemp=tmp"]
        options += [f"-p{plugin}" for plugin in PLUGINS]
        first = [name for name, _ in self._failed.most_common()]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([options + tests, seconds, first]), file=self._process.stdin, flush=True)
        code, failed = json.loads(self._process.stdout.readline())
        if failed:
            self._failed[failed] += 1
        return int(code)

    def try_out(self, mutant: Mutant, tests: list[str], seconds: float) -> Outcome:
        """Run tests on a change."""
        path = self._folder / SOURCE / mutant.module
        before = path.read_text()
        path.write_text(mutant.code)
        began = time.monotonic()
        try:
            code = self.run(tests, seconds)
            if code and time.monotonic() - began >= TEST_SECONDS:
                # It may have been the machine.
                code = self.run(tests, 3 * seconds, 3 * TEST_SECONDS)
            return {0: "survived", HUNG: "hung"}.get(code, "killed")  # type: ignore[return-value]
        finally:
            path.write_text(before)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def try_room(name: str, room: dict[str, Any], todo: list[Mutant], benches: list[Bench], results: Results) -> None:
    """Try changes, with the tests of their room."""
    tests = [*(str(TESTS / test) for test in room["tests"]), *(["-k", room["only"]] if "only" in room else [])]
    began = time.monotonic()
    if code := benches[0].run(tests, 600):
        sys.exit(f"{name}: the tests fail without any change (exit code {code}): pytest {' '.join(tests)}")
    took = time.monotonic() - began
    print(f"{name}: {len(todo)} changes; without any, the tests take {took:.1f} s", flush=True)
    free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
    for bench in benches:
        free.put(bench)

    def try_one(mutant: Mutant) -> None:
        bench = free.get()
        try:
            outcome = bench.try_out(mutant, tests, 10 + 3 * took)
        finally:
            free.put(bench)
        results.note(mutant, outcome)
        if outcome == "survived":
            print(f"\n{mutant.module}:{mutant.line} ({mutant.operator})\n{mutant.diff}", flush=True)

    with ThreadPoolExecutor(len(benches)) as pool:
        list(pool.map(try_one, todo))


def main() -> None:
    """Run the rooms, and write the report."""
    table = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=list(table["rooms"]))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, metavar="N", help="of each module; all that there are if it is left out")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    results, reasons = Results(options.results), Reasons(table.get("unnoticed", []))
    # The page is of all rooms, whichever are tried now.
    wanted = table["rooms"] if options.report is not None else options.rooms
    made: dict[str, list[Mutant]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if any("server" in table["rooms"][name] for name in options.rooms):
            # One server for all runs of the tests, or each would start its own.
            # Only who changes something needs a server, and what it takes to speak to one.
            from pg import shared_server

            os.environ["SAGAZ_TEST_POSTGRES_URL"] = stack.enter_context(shared_server())
            if options.jobs == 1:
                os.environ["SAGAZ_TEST_POSTGRES_SCHEMA"] = "mutants"
        benches = [Bench(Path(folder) / str(n)) for n in range(options.jobs)]
        for bench in benches:
            stack.callback(bench.close)
        for name in options.rooms:
            # Those with a reason take longest, for no test ends them early.
            room = table["rooms"][name]
            made |= {module: drawn(list(mutants(ROOT, module))) for module in room["modules"]}
            todo = [one for module in room["modules"] for one in made[module][: options.sample]]
            if todo := [one for one in todo if results.of(one) is None and reasons.of(one) is None]:
                try_room(name, room, todo, benches, results)
    modules = [module for name in wanted for module in table["rooms"][name]["modules"]]
    changes = [made[module] if module in made else drawn(list(mutants(ROOT, module))) for module in modules]
    became = [[(one, outcome_of(one, results, reasons)) for one in of_module] for of_module in changes]
    page = report(_commit(), became, reasons)
    if options.report is None:
        print(page)
    else:
        options.report.write_text(page)
    sys.exit(share_of(outcome for of_module in became for _, outcome in sample(of_module)) < ENOUGH)


def drawn(changes: list[Mutant]) -> list[Mutant]:
    """Return the changes of a module in an order that is drawn by lot, the same one each time."""
    return random.Random(changes[0].module).sample(changes, len(changes))


def outcome_of(mutant: Mutant, results: Results, reasons: Reasons) -> Outcome | None:
    """Return what became of a change, or may become of it; None when it was not tried."""
    reason, outcome = reasons.of(mutant), results.of(mutant)
    if outcome in (None, "survived") and reason is not None:
        kind: Outcome = reason["kind"]
        return kind
    return outcome


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return described.stdout.strip()


if __name__ == "__main__":
    main()

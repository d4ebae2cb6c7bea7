"""No environment of tox and no sample of tests is green without having tried what its name says."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for file in ("toxfile.py", "conftest.py"):
        shutil.copy(ROOT / file, tmp_path)

    def start(*command: str, ci: str = "") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TOX_", "PYTEST_")) and k != "CI"}
        env |= {"CI": ci, "UV_PYTHON_DOWNLOADS": "never"}
        return subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=env, capture_output=True, text=True)

    return start


@pytest.fixture
def tox(tmp_path: Path, run: Run) -> Run:
    def start(ini: str, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "tox.ini").write_text(ini)
        return run("tox", "run", *arguments, ci=ci)

    return start


NOTHING = """
[tox]
env_list = some
skip_missing_interpreters = true
[testenv]
skip_install = true
commands =
    other: python -c pass
"""
SOMETHING = NOTHING.replace("other:", "")


@pytest.mark.parametrize(
    ("ini", "said"),
    [
        (NOTHING, "has no commands for some"),
        (f"{SOMETHING}floor: base_python = py39\n", "tox knows no floor"),
        (f"{SOMETHING}deps = pip==9.9\ninstall_command = python -c pass {{packages}}\n", "pip==9.9, but nothing"),
    ],
)
def test_an_environment_that_lies_fails(tox: Run, ini: str, said: str) -> None:
    done = tox(ini)
    assert done.returncode != 0, done.stdout
    assert said in done.stdout


def test_an_environment_that_tries_something_passes(tox: Run) -> None:
    done = tox(SOMETHING)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("ci", "outcome"), [("true", "FAIL"), ("", "SKIP")])
def test_in_ci_a_missing_python_fails(tox: Run, ci: str, outcome: str) -> None:
    assert f"py3.2: {outcome}" in tox(SOMETHING, "-e", "py3.2", ci=ci).stdout


def test_the_python_that_runs_tox_is_found_though_it_is_not_on_path(tox: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    name = f"py{sys.version_info.major}{sys.version_info.minor}"
    assert f"{name}: OK" in tox(SOMETHING, "-e", name).stdout


TESTS = """
import pytest

@pytest.mark.parametrize("number", range(40))
def test_many(number): ...
"""


def test_all_run_when_they_are_named(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_many.py").write_text(TESTS)
    assert "40 passed" in run("pytest", "--one-in", "8", "test_many.py::test_many").stdout


def test_a_sample_has_some_of_every_file_and_says_what_it_left_out(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_many.py").write_text(TESTS)
    for number in range(9):
        (tmp_path / f"test_{number}.py").write_text("def test_one(): ...\n")
    done = run("pytest", "-v", "--one-in", "8")
    assert all(f"test_{number}.py::test_one PASSED" in done.stdout for number in range(9))
    many = done.stdout.count("test_many.py::test_many")
    assert 0 < many < 20
    assert f"{40 - many} deselected" in done.stdout


@pytest.mark.parametrize(("ci", "least", "most"), [("", 5, 20), ("true", 41, 41)])
def test_of_variants_a_sample_runs_and_in_ci_all(tmp_path: Path, run: Run, ci: str, least: int, most: int) -> None:
    (tmp_path / "test_many.py").write_text(TESTS + "def test_one(): ...\n")
    done = run("pytest", "-v", "--variants-one-in", "4", ci=ci)
    assert "test_many.py::test_one PASSED" in done.stdout
    assert least <= done.stdout.count(" PASSED") <= most


def test_a_sample_of_variants_has_one_of_every_test(tmp_path: Path, run: Run) -> None:
    few = "\n".join(f"@pytest.mark.parametrize('n', [1, 2])\ndef test_{number}(n): ...\n" for number in range(20))
    (tmp_path / "test_few.py").write_text(f"import pytest\n{few}")
    done = run("pytest", "-v", "--variants-one-in", "1000")
    assert all(done.stdout.count(f"::test_{number}[") == 1 for number in range(20))


@pytest.mark.parametrize(("ci", "outcome"), [("true", "2 failed"), ("", "2 skipped")])
def test_in_ci_nothing_is_skipped_for_want_of_something(tmp_path: Path, run: Run, ci: str, outcome: str) -> None:
    (tmp_path / "test_a.py").write_text("import pytest\ndef test_a(): pytest.skip('no redis-server')\n")
    (tmp_path / "test_b.py").write_text("import pytest\ndef test_b(): pytest.importorskip('nowhere_to_be_found')\n")
    assert outcome in run("pytest", ci=ci).stdout


def test_in_ci_a_file_that_skips_itself_is_an_error(tmp_path: Path, run: Run) -> None:
    (tmp_path / "test_a.py").write_text("import pytest\npytest.importorskip('nowhere_to_be_found')\n")
    assert "1 error" in run("pytest", ci="true").stdout


def test_what_another_environment_runs_may_be_skipped_in_ci(tmp_path: Path, run: Run) -> None:
    source = "import pytest\n@pytest.mark.skip(reason='MariaDB: SAGAZ_TEST_MARIADB=1')\ndef test_a(): ...\n"
    (tmp_path / "test_a.py").write_text(source)
    assert "1 skipped" in run("pytest", ci="true").stdout

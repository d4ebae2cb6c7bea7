"""What is too large to be read is told, each with where it is; what is just small enough is not."""

import subprocess
import sys
from pathlib import Path

import pytest

import check_size

FUNCTION = "def f():\n    return 1\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / "shared/core/src/core" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_has_at_most_280_lines(tmp_path: Path) -> None:
    write(tmp_path, "small.py", "x = 1\n" * 280)
    assert check_size.check(tmp_path) == []
    write(tmp_path, "large.py", "x = 1\n" * 281)
    [problem] = check_size.check(tmp_path)
    assert problem.startswith("shared/core/src/core/large.py: 281 lines")


@pytest.mark.parametrize("head", ["def f():", "async def f():"])
def test_a_function_has_at_most_45_lines_with_its_docstring(tmp_path: Path, head: str) -> None:
    many = FUNCTION * 10
    write(tmp_path, "a.py", f"{many}{head}\n" + "    x = 1\n" * 44)
    assert check_size.check(tmp_path) == []
    write(tmp_path, "a.py", f"{many}class A:\n    {head}\n" + "        x = 1\n" * 45)
    assert check_size.check(tmp_path) == ["shared/core/src/core/a.py:22: f has 46 lines; at most 45"]


def test_a_folder_has_at_most_16_files_beside_its_folders(tmp_path: Path) -> None:
    for number in range(16):
        write(tmp_path, f"a{number}.py", "")
    write(tmp_path, "room/b.py", "")
    assert check_size.check(tmp_path) == []
    write(tmp_path, "a16.py", "")
    [problem] = check_size.check(tmp_path)
    assert problem.startswith("shared/core/src/core: 17 files")


def test_half_of_all_functions_have_at_most_6_lines(tmp_path: Path) -> None:
    seven = "def g():\n" + "    x = 1\n" * 6
    write(tmp_path, "a.py", FUNCTION * 3 + seven * 2)
    assert check_size.check(tmp_path) == []
    write(tmp_path, "a.py", FUNCTION * 2 + seven * 3)
    assert check_size.check(tmp_path) == ["half of all functions have more than 7 lines; at most 6"]


def test_this_repository_is_checked_whole() -> None:
    files = list(check_size.ROOT.glob("shared/*/src/**/*.py"))
    assert len(files) > 100


def test_the_check_ends_with_1_if_and_only_if_something_is_too_large(tmp_path: Path) -> None:
    script = tmp_path / "tools/check_size.py"
    script.parent.mkdir()
    script.write_bytes((check_size.ROOT / "tools/check_size.py").read_bytes())
    for lines, code in ((280, 0), (281, 1)):
        write(tmp_path, "a.py", "x = 1\n" * lines)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, bool(done.stderr)) == (code, bool(code))

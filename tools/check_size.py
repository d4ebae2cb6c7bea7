"""Check that files, folders and functions stay small enough to be read; ruff counts statements, and not lines."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES, FOLDER_FILES, FUNCTION_LINES, MEDIAN_LINES = 280, 16, 45, 6


def functions(source: str) -> list[tuple[str, int, int]]:
    """Return name, line and length of every function in ``source``, from its ``def`` to its last line."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1) for node in found]


def check(root: Path) -> list[str]:
    """Return one line for everything below ``root``'s ``src`` folders that is too large."""
    files = sorted(file for place in ("shared", "packages") for file in root.glob(f"{place}/*/src/**/*.py"))
    problems, lengths = [], []
    for file in files:
        text, name = file.read_text(), file.relative_to(root)
        if (lines := len(text.splitlines())) > FILE_LINES:
            problems.append(f"{name}: {lines} lines; at most {FILE_LINES}, split it by what it is about")
        for function, line, length in functions(text):
            lengths.append(length)
            if length > FUNCTION_LINES:
                problems.append(f"{name}:{line}: {function} has {length} lines; at most {FUNCTION_LINES}")
    for folder, count in sorted(Counter(file.parent for file in files).items()):
        if count > FOLDER_FILES:
            problems.append(f"{folder.relative_to(root)}: {count} files; at most {FOLDER_FILES}, find its rooms")
    if lengths and median(lengths) > MEDIAN_LINES:
        problems.append(f"half of all functions have more than {median(lengths):g} lines; at most {MEDIAN_LINES}")
    return problems


if __name__ == "__main__":
    sys.exit("\n".join(check(ROOT)) or 0)

"""Check that only ``sagaz_durable._upstream`` imports sagaz's internals.

Everything else may import ``sagaz`` and ``sagaz.integrations``, whose names are sagaz's promise to its users. An
import checker that sees packages from outside as one cannot tell the two apart, so this reads the syntax trees.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = {"sagaz", "sagaz.integrations"}


def internal_imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and module of every import of sagaz's internals in ``source``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            if module.split(".")[0] == "sagaz" and module not in PUBLIC:
                yield node.lineno, module


def check(root: Path) -> list[str]:
    """Return one line for every forbidden import below ``root``'s ``src`` folders."""
    files = sorted(file for place in ("shared", "packages") for file in root.glob(f"{place}/*/src/**/*.py"))
    return [
        f"{file.relative_to(root)}:{line}: imports {module}; only sagaz_durable._upstream may, ask it instead"
        for file in files
        if "_upstream" not in (file.stem, file.parent.name)
        for line, module in internal_imports(file.read_text())
    ]


if __name__ == "__main__":
    errors = check(ROOT)
    print("\n".join(errors) or "Only _upstream imports sagaz's internals.")
    sys.exit(bool(errors))

"""Check that only ``sagaz_durable._upstream`` imports sagaz's internals, and nobody a private name of ours.

Everything else may import ``sagaz`` and ``sagaz.integrations``, whose names are sagaz's promise to its users. An
import checker that sees modules, and packages from outside as one, cannot tell these apart, so this reads the syntax
trees.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = {"sagaz", "sagaz.integrations"}
OURS = {"sagaz_integration_core", "sagaz_durable", "django_sagaz", "fastapi_sagaz", "flask_sagaz"}


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


def private_imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield line, module and name of every import of what begins with an underscore in one of our modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in OURS):
            for alias in node.names:
                if alias.name.startswith("_") and not alias.name.startswith("__"):
                    yield node.lineno, f"{node.module}.{alias.name}"


def check(root: Path) -> list[str]:
    """Return one line for every forbidden import below ``root``'s ``src`` folders."""
    errors = []
    for file in sorted(file for place in ("shared", "packages") for file in root.glob(f"{place}/*/src/**/*.py")):
        source, where = file.read_text(), file.relative_to(root)
        if "_upstream" not in (file.stem, file.parent.name):
            errors += [
                f"{where}:{line}: imports {module}; only sagaz_durable._upstream may, ask it instead"
                for line, module in internal_imports(source)
            ]
        errors += [
            f"{where}:{line}: imports {name}, which is that module's own; give it a public name, or ask for less"
            for line, name in private_imports(source)
        ]
    return errors


if __name__ == "__main__":
    errors = check(ROOT)
    print("\n".join(errors) or "Only _upstream imports sagaz's internals, and nobody a private name.")
    sys.exit(bool(errors))

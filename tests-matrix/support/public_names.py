"""What a program uses of our distributions that its author was not promised."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

__all__ = ["private_uses"]

OURS = ("sagaz_integration_core", "sagaz_durable", "django_sagaz", "fastapi_sagaz", "flask_sagaz")
INSIDES = tuple(f"sagaz_durable.stores.{kind}" for kind in ("memory", "sqlite", "postgresql"))
"""How the engine's own stores are made, which no other store builds upon."""


def private_uses(source: str) -> list[str]:
    """Return what is wrong, each as the program's line number and words."""
    return [f"{line}: {what}" for line, what in _found(ast.parse(source))]


def _found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"import {one.name}") for one in node.names if _is_ours(one.name))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and _is_ours(node.module):
            yield from ((node.lineno, f"{node.module}.{one.name}") for one in node.names if _is_private(node, one.name))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not _is_own(node.value):
            yield node.lineno, ast.unparse(node)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def _is_private(node: ast.ImportFrom, name: str) -> bool:
    module = node.module or ""
    if any(part.startswith("_") for part in (*module.split("."), name)) or module.startswith(INSIDES):
        return True
    return name not in getattr(importlib.import_module(module), "__all__", ())


def _is_own(value: ast.expr) -> bool:
    return (isinstance(value, ast.Name) and value.id == "self") or ast.unparse(value) == "super()"

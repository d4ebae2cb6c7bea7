"""Importing sagaz without its side effect: its outbox worker calls ``logging.basicConfig`` when it is imported."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    # What they are derived from matters to type checkers alone, and takes longer to import than a plugin does.
    Loader = MetaPathFinder = object

__all__ = ["guard_import", "load_sagaz", "without_collections"]

_HIJACKER_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
"""What sagaz 1.5 gives to ``basicConfig``; the handler that has it, and nothing else special, is sagaz's."""


def load_sagaz() -> ModuleType:
    """Import sagaz, and leave the root logger as the application configured it."""
    guard_import()
    return importlib.import_module("sagaz")


def guard_import() -> None:
    """Keep the first import of sagaz, by whomever, from configuring the root logger; undo it if that has happened."""
    if "sagaz" in sys.modules:
        _undo()
    elif not any(isinstance(finder, _SagazFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SagazFinder())


@contextmanager
def without_collections() -> Iterator[None]:
    """Look for no cyclic garbage while modules are imported.

    They make nothing but what stays: some hundreds take a tenth longer when all is looked through again and again.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            if not gc.get_freeze_count():
                # All that is there now belongs to the oldest generation: the next two collections would be for it.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _undo() -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and getattr(handler.formatter, "_fmt", None) == _HIJACKER_FORMAT:
            root.removeHandler(handler)
            if root.level == logging.getLevelName(os.getenv("LOG_LEVEL", "INFO").upper()):
                root.setLevel(logging.WARNING)


class _SagazFinder(MetaPathFinder):
    """Finds sagaz the ordinary way, once, and wraps its loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "sagaz":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(Loader):
    """Executes a module and then puts the root logger's handlers and level back."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        # The package's own attributes (resources, source) stay those of the ordinary loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        try:
            with without_collections():
                self._loader.exec_module(module)
        finally:
            for handler in root.handlers[:]:
                if handler not in handlers:
                    root.removeHandler(handler)
            root.setLevel(level)

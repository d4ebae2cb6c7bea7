"""Which FastAPI this release was tested with, and whether the one that is installed is newer."""

from __future__ import annotations

import re
from importlib.metadata import version

import fastapi

__all__ = ["newer_than_tested"]


def newer_than_tested() -> str | None:
    """Return a sentence for people if FastAPI is newer than what this release was tested with, which is no error."""
    own, theirs = version("fastapi-sagaz"), fastapi.__version__
    if _series(theirs) <= _series(own):
        return None
    tested = ".".join(map(str, _series(own)))
    return (
        f"FastAPI {theirs} is newer than {tested}, the newest one that fastapi-sagaz {own} was tested with. "
        f"It is expected to work; a newer fastapi-sagaz may know more."
    )


def _series(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)[:2]))

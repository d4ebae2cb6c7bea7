"""The `contextvars.Context` in which work leaves a request: everything but the request itself."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any

__all__ = ["without_request"]


def without_request() -> Context:
    """Return a copy of the caller's context without Flask's application and request contexts.

    A run may outlive its request, or be resumed where there never was one: steps see the same either way. The
    correlation id, and whatever tracing libraries keep, goes with it.
    """
    context = Context()
    context.run(_fill, copy_context())
    return context


def _fill(variables: Context) -> None:
    for variable, value in variables.items():
        if not variable.name.startswith("flask."):
            _set(variable, value)


def _set(variable: Any, value: object) -> None:
    variable.set(value)

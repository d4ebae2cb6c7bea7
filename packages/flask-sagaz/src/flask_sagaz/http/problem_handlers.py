"""The handlers by which an application's own views answer what goes wrong with sagas as problem documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import current_app, request

from flask_sagaz.http.messages import native_response
from sagaz_durable.http.problems import error_response
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from flask import Blueprint, Flask

__all__ = ["add_problem_handlers"]


def add_problem_handlers(to: Flask | Blueprint) -> None:
    """Register a handler for our errors, unless there is one; see `SagazExtension.add_problem_handlers`."""
    if SagazError not in to.error_handler_spec[None][None]:
        to.register_error_handler(SagazError, _answer)


def _answer(error: SagazError) -> Any:
    if (answer := error_response(error)) is not None:
        return native_response(answer)
    if (own := _handler_behind(error)) is None:
        # No client's fault, and none that passes by itself: a 500, with its traceback in the log.
        raise error
    return current_app.ensure_sync(own)(error)


def _handler_behind(error: SagazError) -> Callable[[Any], Any] | None:
    """Return the application's own handler that Flask would have called without ours."""
    kinds = type(error).__mro__
    behind = kinds[kinds.index(SagazError) + 1 :]
    scopes = (current_app.error_handler_spec[name][None] for name in (*request.blueprints, None))
    return next((scope[kind] for scope in scopes for kind in behind if kind in scope), None)

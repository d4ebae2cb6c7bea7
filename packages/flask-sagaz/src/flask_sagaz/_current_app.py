"""What belongs to the application at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app, has_app_context
from werkzeug.local import LocalProxy

from sagaz_integration_core.errors import RuntimeNotOpen

if TYPE_CHECKING:
    from flask_sagaz._app_state import AppState
    from flask_sagaz.extension import SagazExtension

__all__ = ["KEY", "current_sagaz", "current_state"]

KEY = "sagaz"


def current_state() -> AppState:
    """Return what the extension keeps for the application at hand.

    Raises:
        RuntimeNotOpen: There is no application at hand, or it has no extension.
    """
    if not has_app_context():
        raise RuntimeNotOpen(
            "sagaz was used outside of an application. Use it in a request, a command or a step, or within "
            "`with app.app_context():`."
        )
    state: AppState | None = current_app.extensions.get(KEY)
    if state is None:
        raise RuntimeNotOpen(
            f"The application {current_app.name!r} has no SagazExtension. Give it one: SagazExtension(app), or "
            "sagaz.init_app(app) where the application is made."
        )
    return state


def _current_extension() -> SagazExtension:
    return current_state().extension


current_sagaz: SagazExtension = LocalProxy(_current_extension)  # type: ignore[assignment]
"""The `SagazExtension` of the application at hand."""

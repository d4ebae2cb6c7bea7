"""sagaz's own request context, written so that it can be put back from wherever the request happens to end.

``SagaContextManager.scope`` cannot: it replaces the values of an enclosing scope, and it raises when it is left in
another `contextvars.Context` than it was entered in, as the bodies of streaming responses are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["SagaContext"]

_MODULE = "sagaz.integrations._base"


class SagaContext:
    """What ``SagaContextManager`` sees; a `Mirror` of the request at hand."""

    def push(self, correlation_id: str, values: Mapping[str, object]) -> Token[dict[str, Any]] | None:
        """Add values to those that it sees here; None when it was never imported, so nobody looks."""
        variable: ContextVar[dict[str, Any]] | None = getattr(sys.modules.get(_MODULE), "_saga_context", None)
        if variable is None:
            return None
        # Mostly there are none; taking over those of an empty read-only view costs more than all the rest.
        return variable.set({**variable.get(), **(values or {}), "correlation_id": correlation_id})

    def pop(self, token: Token[dict[str, Any]]) -> None:
        """Put back what it saw before, also in another Context than the values were added in."""
        try:
            token.var.reset(token)
        except ValueError:
            token.var.set({} if token.old_value is Token.MISSING else token.old_value)

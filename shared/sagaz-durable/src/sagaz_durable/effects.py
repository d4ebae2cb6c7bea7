"""What a step does to the world, as its author declares it: that decides how often it may be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["MARK", "Effect", "effect", "effect_of"]

F = TypeVar("F", bound=Callable[..., Any])

Effect = Literal["transactional", "idempotent", "read_only"]
"""``transactional``: what it does is in the store's own database, and commits together with its journal entry.
``idempotent``: it hands its idempotency key on, or may be done twice. ``read_only``: it changes nothing."""

MARK = "_sagaz_effect"
"""The attribute by which a function keeps it."""


def effect(effect: Effect) -> Callable[[F], F]:
    """Declare what a step or a compensation does to the world; above or below ``@action`` and ``@compensate``.

    A ``transactional`` one is called inside one database transaction together with its journal entry: both are
    committed, or neither, whenever the process dies. The other two are for the reader: ``list`` shows them.

    Args:
        effect: ``transactional``, ``idempotent`` or ``read_only``.

    Raises:
        SagaDefinitionError: It is none of the three, or what is decorated is no function.
    """
    if effect not in get_args(Effect):
        expected = ", ".join(map(repr, get_args(Effect)))
        raise SagaDefinitionError(f"@effect was given {value_text(effect, 100)}; expected one of {expected}.")

    def mark(function: F) -> F:
        if isinstance(function, type) or not callable(function):
            raise SagaDefinitionError(
                f"@effect({effect!r}) decorates a step or a compensation, and was given {value_text(function, 100)}."
            )
        setattr(function, MARK, effect)
        return function

    return mark


def effect_of(function: object) -> Effect | None:
    """Return what was declared of a function; None if nothing was."""
    found: Effect | None = getattr(function, MARK, None)
    return found

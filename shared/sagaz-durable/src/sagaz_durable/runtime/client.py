"""What all verbs of `sagaz_durable.sagas.Sagas` have in common: a runtime, and that plugins have forms of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["RuntimeClient", "form_of", "function_form_of"]

P = ParamSpec("P")
T = TypeVar("T")


class RuntimeClient:
    """Works through one open runtime; usable for as long as that is open, from any thread and any event loop.

    Args:
        runtime: That of the application.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        self._runtime = runtime


def form_of(verb: Callable[Concatenate[Any, P], T]) -> Callable[[Callable[..., Any]], Callable[Concatenate[Any, P], T]]:
    """Decorate a plugin's ``def method(self, *args, **options)`` that leads to a verb: it takes and returns the same.

    Its first parameter stays its own. Type checkers, editors and `inspect.signature` show the verb's, which are written
    there alone.
    """
    return lambda method: _formed(method, verb, own=1)


def function_form_of(verb: Callable[Concatenate[Any, P], T]) -> Callable[[Callable[..., Any]], Callable[P, T]]:
    """Decorate a plugin's ``def function(*args, **options)`` that leads to a verb, as `form_of` does a method."""
    return lambda function: _formed(function, verb, own=0)


def _formed(function: Any, verb: Callable[..., Any], *, own: int) -> Any:
    signature, given = inspect.signature(verb), inspect.signature(function)
    parameters = [*list(given.parameters.values())[:own], *list(signature.parameters.values())[1:]]
    function.__signature__ = signature.replace(parameters=parameters)
    return function

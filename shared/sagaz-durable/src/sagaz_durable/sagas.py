"""`Sagas`: everything that an application's code does with its sagas, each verb in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sagaz_durable.operations.decisions import Decisions
from sagaz_durable.runtime.inline import InlineRuns
from sagaz_durable.runtime.publishing import Publications
from sagaz_durable.runtime.starting import Starts

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Sagas", "form_of", "function_form_of"]

P = ParamSpec("P")
T = TypeVar("T")


class Sagas(Starts, InlineRuns, Publications, Decisions):
    """What can be done with the sagas of one application, for as long as its runtime is open.

    Each verb has two forms: ``await sagas.start(…)`` in asynchronous code, on any event loop, and
    ``sagas.start_sync(…)`` in synchronous code, in any thread but the event loop's. Transactions (``session=``) are
    joined where the call is made, by sessions of that kind. Framework plugins hand it out, and their own functions and
    methods of these names lead here.

    Args:
        runtime: That of the application, opened.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        super().__init__(runtime)
        Decisions.__init__(self, runtime)


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

"""The declared types of saga classes: ``context = OrderContext``, and the annotations of steps and compensations."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from sagaz_durable._upstream.recoveries import decorated
from sagaz_durable.contexts.context_types import CallTypes, ContextTypes
from sagaz_durable.contexts.models import Model, hints_of, model_of
from sagaz_durable.graph import Graph
from sagaz_durable.serialization.model_fields import is_model_class
from sagaz_integration_core.contract.records import Phase
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["context_types", "declared_type"]

_NOTHING = inspect.Parameter.empty
_KNOWN: WeakKeyDictionary[type[Any], ContextTypes] = WeakKeyDictionary()


def context_types(saga_class: type[Any], graph: Callable[[], Graph]) -> ContextTypes | None:
    """Return the types of a class that says ``context = …``; None of one that does not.

    Raises:
        SagaDefinitionError: They contradict each other, or have what is not kept in contexts.
    """
    if declared_type(saga_class) is None:
        _check_untyped(saga_class)
        return None
    if (found := _KNOWN.get(saga_class)) is None:
        found = _KNOWN[saga_class] = _checked(saga_class, graph())
    return found


def declared_type(saga_class: type[Any]) -> Any:
    """Return what a class says with ``context = …``, if that is a class."""
    declared = getattr(saga_class, "context", None)
    return declared if isinstance(declared, type) else None


def _check_untyped(saga_class: type[Any]) -> None:
    """Refuse what says a type and is no class; a method, or whatever else is called so, is the application's own."""
    declared = getattr(saga_class, "context", None)
    if declared is None:
        return
    if typing.get_origin(declared) is not None or isinstance(declared, getattr(typing, "TypeAliasType", ())):
        raise SagaDefinitionError(
            f"{saga_class.__qualname__}.context is {declared!r}; expected a class. Of a generic one, make a class of "
            "its own: class OrderBox(Box[Order]): ..."
        )
    if is_model_class(type(declared)):
        name = type(declared).__qualname__
        raise SagaDefinitionError(
            f"{saga_class.__qualname__}.context is an instance of {name}; expected the class: context = {name}."
        )


def _checked(saga_class: Any, graph: Graph) -> ContextTypes:
    owner, kind = saga_class.__qualname__, declared_type(saga_class)
    context = model_of(kind)
    if context is None:
        raise SagaDefinitionError(
            f"{owner}.context is {kind.__qualname__}; expected a Pydantic model, a dataclass, an attrs class or a "
            "TypedDict."
        )
    return ContextTypes(owner, context, dict(_calls(saga_class, context)), graph.ancestors)


def _calls(saga_class: Any, context: Model) -> Iterator[tuple[tuple[str, Phase], CallTypes]]:
    for attribute, method in decorated(saga_class, "_saga_step_meta"):
        yield (method._saga_step_meta.name, "do"), _call(saga_class, attribute, method, context)
    for attribute, method in decorated(saga_class, "_saga_compensation_meta"):
        call = _call(saga_class, attribute, method, context)
        yield (method._saga_compensation_meta.for_step, "undo"), CallTypes(call.takes)
    for attribute, method in decorated(saga_class, "_saga_forward_recovery_meta"):
        call = _call(saga_class, attribute, method, context)
        yield (method._saga_forward_recovery_meta.for_step, "redo"), CallTypes(call.takes)


def _call(saga_class: Any, attribute: str, method: Callable[..., Any], context: Model) -> CallTypes:
    where, hints = f"{saga_class.__qualname__}.{attribute}", _hints(saga_class, attribute, method, context)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    taken = hints.get(names[0], _NOTHING) if names else _NOTHING
    takes: Model | None = context
    if taken is not _NOTHING and taken is not context.kind:
        takes = model_of(taken) if isinstance(taken, type) else None
        if takes is None and not _is_dict(taken):
            raise SagaDefinitionError(
                f"{where} takes {taken!r}; expected {context.kind.__qualname__}, another model, dict, or no annotation."
            )
    returns, always = _returned(hints.get("return", _NOTHING))
    if returns is not None and returns.kind in (context.kind, takes and takes.kind):
        # What it takes, changed.
        returns = None
    return CallTypes(takes, returns, always)


def _hints(saga_class: Any, attribute: str, method: Callable[..., Any], context: Model) -> Any:
    names = {context.kind.__name__: context.kind, **vars(saga_class)}
    return hints_of(f"{saga_class.__qualname__}.{attribute}", inspect.unwrap(method), names)


def _is_dict(annotation: Any) -> bool:
    kind = typing.get_origin(annotation) or annotation
    return kind is Any or (isinstance(kind, type) and issubclass(dict, kind))


def _returned(annotation: Any) -> tuple[Model | None, bool]:
    kinds = [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [one for one in typing.get_args(annotation) if one is not types.NoneType]
    always = len(kinds) == len(typing.get_args(annotation) or kinds)
    if len(kinds) != 1 or not isinstance(kinds[0], type):
        return None, always
    return model_of(kinds[0]), always

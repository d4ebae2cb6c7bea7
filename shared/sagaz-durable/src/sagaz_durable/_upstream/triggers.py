"""What methods of a saga class want events: sagaz's triggers, and our own `resumes`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sagaz_durable.webhooks.resuming import MARK, Place, Resuming
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Trigger", "listeners", "refuse_lost"]


@record
class Trigger:
    """What ``@trigger`` was given, by sagaz's names."""

    source: str
    idempotency_key: Place | None
    max_concurrent: int | None
    rate_limit: float | None

    @property
    def is_limited(self) -> bool:
        """Whether runs that it starts may have to wait for others."""
        return self.max_concurrent is not None or self.rate_limit is not None


def listeners(saga_class: type[Any]) -> tuple[tuple[str, Trigger | Resuming], ...]:
    """Return the methods of a class that want events, by their names, and what they declare."""
    key: Any = saga_class
    return _known(key)


@lru_cache(maxsize=1_000)
def _known(saga_class: Any) -> tuple[tuple[str, Trigger | Resuming], ...]:
    # Each attribute is looked at, which takes longer than all else that is done with an event.
    return tuple(_listeners(saga_class))


def refuse_lost(saga_class: type[Any]) -> None:
    """Refuse a class with a method whose decorators for events lose one of them.

    Two of sagaz's ``@trigger`` leave the mark of the outer one alone: they are seen where there is source code, and
    ``trigger`` is a name of its module.

    Raises:
        SagaDefinitionError: Naming the method, and what to write.
    """
    seen: set[tuple[str, str]] = set()
    for attribute, declared in listeners(saga_class):
        where = f"{saga_class.__qualname__}.{attribute}"
        if (attribute, declared.source) in seen:
            raise SagaDefinitionError(
                f"{where} has two decorators for events of {declared.source!r}: an event would mean two things by one "
                "method. Write a method for each."
            )
        seen.add((attribute, declared.source))
        if isinstance(declared, Trigger) and _triggers_in_source(inspect.getattr_static(saga_class, attribute)) > 1:
            raise SagaDefinitionError(
                f"{where} is decorated with @trigger twice, and sagaz keeps only the outer one: events of the other "
                "would start nothing. Write a method for each source; they may call one that both share."
            )


def _listeners(saga_class: type[Any]) -> Iterator[tuple[str, Trigger | Resuming]]:
    for attribute in dir(saga_class):
        declared = inspect.getattr_static(saga_class, attribute)
        for one in _declared(declared, "_trigger_metadata"):
            yield attribute, Trigger(one.source, one.idempotency_key, one.max_concurrent, one.rate_limit)
        for several in _declared(declared, MARK):
            yield from ((attribute, one) for one in several)


def _declared(declared: Any, mark: str) -> list[Any]:
    # The mark of a decorator over @staticmethod or @classmethod is on these, and not on the function.
    marks = [getattr(one, mark, None) for one in (declared, getattr(declared, "__func__", None))]
    return [one for number, one in enumerate(marks) if one is not None and one not in marks[:number]]


def _triggers_in_source(declared: Any) -> int:
    function = inspect.unwrap(getattr(declared, "__func__", declared))
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return 0
    names = getattr(function, "__globals__", {})
    calls = [one.func for one in getattr(tree.body[0], "decorator_list", ()) if isinstance(one, ast.Call)]
    return sum(_is_trigger(_named(one, names)) for one in calls)


def _named(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Attribute):
        return getattr(_named(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _is_trigger(named: Any) -> bool:
    return getattr(named, "__name__", "") == "trigger" and getattr(named, "__module__", "").startswith("sagaz.")

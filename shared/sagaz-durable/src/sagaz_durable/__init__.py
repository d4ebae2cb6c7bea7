"""Durable sagas for web applications: the engine that fastapi-sagaz, django-sagaz and flask-sagaz share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sagaz_durable._upstream.context_bridge import SagaContext
from sagaz_durable._upstream.imports import guard_import, load_sagaz, without_collections

with without_collections():
    from sagaz_durable.effects import effect
    from sagaz_integration_core.context.correlation import mirror_to

__all__ = [
    "NOTHING", "ContextLike", "Saga", "action", "compensate", "configured_globally", "effect", "guard_import",
    "without_collections",
]  # fmt: skip

mirror_to(SagaContext())


class _PydanticModel(Protocol):
    __pydantic_complete__: ClassVar[bool]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _AttrsClass(Protocol):
    __attrs_attrs__: ClassVar[Any]


ContextLike = Mapping[str, Any] | _PydanticModel | _Dataclass | _AttrsClass
"""What a saga may be given: a dict, or a model, of which it is given the fields."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The context of a saga that is given none. None is refused: it is what a request says whose body is ``null``."""


def configured_globally() -> Any:
    """Return what the application gave to ``sagaz.configure``, or None when it never did; this imports sagaz."""
    guard_import()
    from sagaz_durable._upstream import resources

    return resources.configured_globally()


def __getattr__(name: str) -> Any:
    # sagaz takes a third of a second to import; whoever only wires an application does not pay for it.
    if name in ("Saga", "action", "compensate"):
        return getattr(load_sagaz(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    # What type checkers take sagaz's objects for: sagaz has no py.typed, and a bound saga's run returns a SagaRun.
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from typing import TypeVar

    import sagaz

    from sagaz_durable.engine.result import SagaRun

    _Method = TypeVar("_Method", bound=Callable[..., Any])
    _Hook = Callable[..., Any] | None

    class Saga(sagaz.Saga):
        """A sequence of steps, each with a compensation that undoes it."""

        async def run(
            self,
            initial_context: ContextLike = ...,
            saga_id: str | None = None,
            *,
            idempotency_key: str | None = None,
            deadline: datetime | timedelta | None = None,
            owner: str | None = None,
            wait: float = 0.0,
        ) -> SagaRun:
            """Execute the saga; durably if it is a bound one."""
            ...

    def action(
        name: str,
        depends_on: list[str] | None = None,
        aggregate_type: str | None = None,
        event_type: str | None = None,
        timeout_seconds: float = 60.0,
        max_retries: int = 3,
        description: str | None = None,
        on_enter: _Hook = None,
        on_success: _Hook = None,
        on_failure: _Hook = None,
        on_exit: _Hook = None,
        pivot: bool = False,
    ) -> Callable[[_Method], _Method]:
        """Make a method a step."""
        ...

    def compensate(
        for_step: str,
        compensation_type: Any = ...,
        timeout_seconds: float = 30.0,
        max_retries: int = 3,
        description: str | None = None,
        on_compensate: _Hook = None,
    ) -> Callable[[_Method], _Method]:
        """Make a method the compensation of a step."""
        ...

"""What endpoints ask for with ``Depends``: the configuration, bound sagas, and the start of runs for later."""

# The engine is imported inside the functions, where it is loaded already: `import fastapi_sagaz` stays light.
# Without `from __future__ import annotations`: FastAPI evaluates these signatures, and finds no namespace for strings
# in callable objects.

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from starlette.requests import HTTPConnection

from fastapi_sagaz._app_state import runtime_of
from fastapi_sagaz._background_runs import parking
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SagaDefinitionError, UsageError

if TYPE_CHECKING:
    from sagaz import Saga, SagaConfig

__all__ = ["SagaDependency", "SagaFactory", "SagaStarter", "get_config"]

S = TypeVar("S", bound="Saga")

_INSTEAD = "Make the endpoint `async def`, or start the run for later: SagaStarter.sync(OrderSaga, …)"


async def get_config(connection: HTTPConnection) -> "SagaConfig":
    """Return the application's ``SagaConfig``; its storage looks runs up in the runtime's own store.

    A saga made with it, ``OrderSaga(config=config)``, runs on sagaz's own engine: its result is a plain dict, and it is
    not durable. `SagaFactory` gives durable ones.

    Raises:
        RuntimeNotOpen: The application's lifespan has opened none.
    """
    config: SagaConfig = runtime_of(connection).config
    return config


@dataclass(frozen=True)
class SagaDependency(Generic[S]):
    """A dependency that yields a bound instance of one saga class; those of the same class are equal."""

    saga_class: type[S]

    async def __call__(self, connection: HTTPConnection) -> AsyncIterator[S]:
        """Yield a saga whose ``run`` is durable."""
        from sagaz_durable.runtime.bound_saga import bind

        saga = bind(runtime_of(connection), self.saga_class, instead=_INSTEAD)
        with parking(saga):
            yield saga


class SagaFactory:
    """Makes dependencies: ``saga: OrderSaga = Depends(saga_factory(OrderSaga))``.

    ``saga_factory(OrderSaga)`` is equal to itself however often it is written, so that
    ``app.dependency_overrides[saga_factory(OrderSaga)]`` finds it. The saga's ``run`` has to be awaited; a plain
    ``def`` endpoint uses `SagaStarter.sync`.
    """

    def __call__(self, saga_class: type[S]) -> SagaDependency[S]:
        """Return the dependency that yields a bound saga of this class.

        Raises:
            SagaDefinitionError: It is no class.
        """
        if not isinstance(saga_class, type):
            raise SagaDefinitionError(
                f"saga_factory takes a saga's class, saga_factory(OrderSaga), and got {value_text(saga_class, 100)}."
            )
        return SagaDependency(saga_class)

    @property
    def __signature__(self) -> NoReturn:
        """What FastAPI asks a dependency for: this is none, and ``saga_class`` no parameter of a request."""
        raise UsageError(
            "Depends(saga_factory) names no saga; expected saga: OrderSaga = Depends(saga_factory(OrderSaga))."
        )


class SagaStarter:
    """Starts runs that a worker executes: ``start: Annotated[SagaStarter, Depends()]``."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._runtime = runtime_of(connection)

    async def __call__(
        self,
        saga_class: "type[Saga]",
        context: Mapping[str, Any],
        *,
        session: Any = None,
        idempotency_key: str | None = None,
        not_before: datetime | None = None,
    ) -> str:
        """Record a run and return its saga_id.

        Args:
            session: An SQLAlchemy session or connection, or a psycopg connection: the run exists if and only if its
                transaction is committed. Without, the run is committed when this returns.
            idempotency_key: The same key gives the same saga_id and one run.
            not_before: An aware datetime, before which no worker takes the run.

        Raises:
            InvalidInput: The context (`ContextValueError`) or the key cannot be recorded, or the key was used with
                another payload (`IdempotencyConflict`).
            Overloaded: More runs are due than SAGAZ_MAX_DUE allows; nothing was recorded.
            StoreUnavailable: Nothing was recorded.
            TransactionRequired, WrongDatabase: The session cannot carry the run.
        """
        from sagaz_durable.runtime.starting import start

        return await start(
            self._runtime,
            saga_class,
            context,
            session=session,
            idempotency_key=idempotency_key,
            not_before=not_before,
        )

    def sync(
        self,
        saga_class: "type[Saga]",
        context: Mapping[str, Any],
        *,
        session: Any = None,
        idempotency_key: str | None = None,
        not_before: datetime | None = None,
    ) -> str:
        """Do the same in a plain ``def`` endpoint, with a synchronous session."""
        from sagaz_durable.runtime.starting import start_sync

        return start_sync(
            self._runtime,
            saga_class,
            context,
            session=session,
            idempotency_key=idempotency_key,
            not_before=not_before,
        )

    async def many(
        self,
        saga_class: "type[Saga]",
        contexts: Iterable[Mapping[str, Any]],
        *,
        session: Any = None,
        not_before: datetime | None = None,
    ) -> list[str]:
        """Record many runs of one saga in one statement, all of them or none; return their saga_ids in order."""
        from sagaz_durable.runtime.starting import start_many

        return await start_many(self._runtime, saga_class, contexts, session=session, not_before=not_before)

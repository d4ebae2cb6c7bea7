"""What endpoints ask for with ``Depends``: the configuration, bound sagas, and all that can be done with sagas."""

# The engine is imported inside the functions, where it is loaded already: `import fastapi_sagaz` stays light.
# Without `from __future__ import annotations`: FastAPI evaluates these signatures, and finds no namespace for strings
# in callable objects.

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, NoReturn, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from fastapi_sagaz._app_state import open_app, runtime_of
from fastapi_sagaz._background_runs import parking
from sagaz_durable import sagas
from sagaz_durable.runtime.starting import Starts
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import RuntimeNotOpen, SagaDefinitionError, UsageError

if TYPE_CHECKING:
    from sagaz import Saga, SagaConfig

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["SagaDependency", "SagaFactory", "SagaStarter", "Sagas", "get_config", "sagas_of"]

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


async def open_runtime(connection: HTTPConnection) -> "SagazRuntime":
    """Return the open runtime of the application that handles this request.

    Raises:
        RuntimeNotOpen: With the two lines that open one.
    """
    return runtime_of(connection)


class Sagas(sagas.Sagas):
    """Everything that can be done with the application's sagas: ``sagas: Annotated[Sagas, Depends()]``.

    ``await sagas.start(…)``, and so on; in a plain ``def`` endpoint ``sagas.start_sync(…)``. Without a request,
    `sagas_of` gives one. The verbs, each with its arguments and errors, are in `sagaz_durable.sagas.Sagas`.
    """

    def __init__(self, runtime: Annotated[Any, Depends(open_runtime)]) -> None:
        super().__init__(runtime)


class SagaStarter(Starts):
    """Starts runs that a worker executes: ``start: Annotated[SagaStarter, Depends()]``.

    ``await start(OrderSaga, context, session=session)`` is `Sagas.start`, ``start.sync(…)`` in a plain ``def`` endpoint
    `Sagas.start_sync`, and ``await start.many(OrderSaga, contexts)`` `Sagas.start_many`.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__(runtime_of(connection))

    __call__ = Starts.start
    sync = Starts.start_sync
    many = Starts.start_many


def sagas_of(app: Any) -> Sagas:
    """Return what can be done with the sagas of an application whose lifespan has been entered, without a request.

    For a consumer that the lifespan runs, a script or a cron job, and a step that starts another saga.

    Args:
        app: The application; in a step ``current_step().app``.

    Raises:
        RuntimeNotOpen: The lifespan has not been entered, or has ended; with the two lines that enter it.
    """
    opened = open_app(app)
    if opened is None:
        raise RuntimeNotOpen(_NOT_ENTERED)
    return Sagas(opened.runtime)


_NOT_ENTERED = """No sagaz runtime is open for this application. It is while the application is served, and within its \
lifespan, which a script enters by itself:

    async with app.router.lifespan_context(app):
        await sagas_of(app).start(OrderSaga, {…})

The application has to be made with FastAPI(lifespan=create_lifespan())."""

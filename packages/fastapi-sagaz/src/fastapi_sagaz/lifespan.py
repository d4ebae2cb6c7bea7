"""The application's lifespan: the runtime is opened before its resources, drained before them and closed after them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from fastapi_sagaz._app_state import OpenApp, attached, open_app
from fastapi_sagaz._asgi_lifespan import current_visit
from fastapi_sagaz._route_scan import sagas_in_routes, sources_in_routes
from fastapi_sagaz._wording import WORDING
from fastapi_sagaz.http.validation import ContextMismatch
from sagaz_durable import configured_globally
from sagaz_durable.engine.registry import listed
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz import SagaConfig

    from sagaz_durable.engine.registry import SagaSpec
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.lifecycle import Lifecycle

__all__ = ["SagazLifespan", "create_lifespan"]

State = Mapping[str, Any] | None


def create_lifespan(
    config: SagaConfig | Settings | Mapping[str, object] | None = None,
    *,
    lifespan: Callable[[Any], Any] | None = None,
    sagas: Iterable[SagaSpec] = (),
    worker: bool = False,
    session_factory: Callable[[], Any] | None = None,
) -> SagazLifespan:
    """Return a lifespan for ``FastAPI(lifespan=…)`` that makes sagas durable in this application.

    Args:
        config: A ``SagaConfig`` of sagaz, a mapping such as ``{"STORAGE_URL": "sqlite:///sagas.db"}`` (the environment
            adds what it leaves open) or `Settings`; by default the ``SAGAZ_…`` environment variables, and what was
            given to ``sagaz.configure``.
        lifespan: The application's own, entered inside: steps find what it yields in ``current_step().state``.
        sagas: Classes, or (class, factory) pairs, that a worker must know before a request has used them. Those of
            `SagaFactory` dependencies are found by themselves.
        worker: Run a worker inside every process that serves the application.
        session_factory: Returns a new session for each call of a transactional step (``@effect("transactional")``), on
            the database that runs are kept in: a ``sessionmaker`` of SQLAlchemy, for ``async def`` steps an
            ``async_sessionmaker``; or a function that returns a connection of psycopg, as a pool's ``connection``.
    """
    if hasattr(config, "router"):
        raise SettingsError(
            "create_lifespan was given an application, as it is when its parentheses are missing: expected "
            "FastAPI(lifespan=create_lifespan())."
        )
    return SagazLifespan(config, lifespan, listed(sagas), worker, session_factory)


class SagazLifespan:
    """What `create_lifespan` returns; the application and included routers may each have one."""

    def __init__(
        self,
        config: Any,
        lifespan: Callable[[Any], Any] | None,
        sagas: tuple[SagaSpec, ...],
        worker: bool,
        session_factory: Callable[[], Any] | None,
    ) -> None:
        self._config = config
        self._lifespan = lifespan
        self._sagas = sagas
        self._worker = worker
        self._session_factory = session_factory

    def __call__(self, app: Any) -> AbstractAsyncContextManager[Any]:
        """Return the lifespan of an application: it opens the runtime, or joins the one that is open already."""
        if not hasattr(app, "state"):
            raise SettingsError(
                f"create_lifespan needs an application to belong to, and was entered with {app!r}. "
                "Give it to FastAPI(lifespan=…), or to a router that an application includes."
            )
        opened = open_app(app)
        return self._open(app) if opened is None else self._join(app, opened)

    @asynccontextmanager
    async def _open(self, app: Any) -> AsyncIterator[State]:
        from sagaz_durable.runtime.start_warnings import warn_at_start

        runtime = self._runtime(app)
        serves = current_visit() is None
        async with _opened(runtime, patient=serves):
            if serves:
                warn_at_start(runtime)
            opened = OpenApp(runtime, self._config, worker=self._worker, session_factory=self._session_factory)
            with attached(app, opened):
                async with self._users_own(app) as state, opened.working(state):
                    yield state

    @asynccontextmanager
    async def _join(self, app: Any, opened: OpenApp) -> AsyncIterator[State]:
        self._check_agreement(opened)
        for saga in self._sagas:
            opened.runtime.registry.add(saga)
        if self._lifespan is None:
            yield None
            return
        opened.postpone()
        # Drained inside: steps may need what this lifespan takes down.
        async with self._users_own(app) as state, opened.working(state):
            yield state

    def _runtime(self, app: Any) -> SagazRuntime:
        from sagaz_durable.intake.served import check_served
        from sagaz_durable.runtime.runtime import SagazRuntime

        settings, config = _resolve(self._config)
        visit = current_visit()
        worker = self._worker and visit is None
        runtime = SagazRuntime(
            settings,
            config=config,
            sagas=self._sagas,
            app=app,
            worker=worker,
            context_mismatch=ContextMismatch,
            session_factory=self._session_factory,
        )
        for saga in sagas_in_routes(app.routes):
            runtime.registry.add(saga)
        check_served(runtime.registry, sources_in_routes(app.routes))
        if visit is not None:
            visit.meet(runtime)
        return runtime

    def _users_own(self, app: Any) -> AbstractAsyncContextManager[State]:
        # A router knows every form that a lifespan can have in FastAPI.
        return APIRouter(lifespan=self._lifespan).lifespan_context(app)

    def _check_agreement(self, opened: OpenApp) -> None:
        from asyncio import get_running_loop

        if opened.runtime.loop is not get_running_loop():
            raise SettingsError(
                "The lifespan of this application is entered a second time, on another event loop, while the first is "
                "still open. Build one application for each server or test client."
            )
        if self._config is not None and self._config is not opened.config and self._config != opened.config:
            raise SettingsError(
                "create_lifespan was given one config on the application and another on an included router, and they "
                "share one runtime. Give config to the application's only."
            )
        if self._worker and not opened.worker:
            raise SettingsError(
                "create_lifespan(worker=True) is on an included router, and the application's own has worker=False. "
                "Give worker=True to the application's."
            )
        if self._session_factory is not None and self._session_factory is not opened.session_factory:
            raise SettingsError(
                "create_lifespan(session_factory=…) is on an included router, and the application's own has not this "
                "one. Give session_factory to the application's."
            )


@asynccontextmanager
async def _opened(runtime: Lifecycle, *, patient: bool) -> AsyncIterator[None]:
    """Have a runtime open within the block."""
    await runtime.open(patient=patient)
    try:
        yield
    finally:
        await runtime.close()


def _resolve(config: Any) -> tuple[Settings, Any]:
    from sagaz_durable.settings.settings import Settings, environment, mapping

    if config is None:
        return Settings.from_env(wording=WORDING), configured_globally()
    if isinstance(config, Settings):
        return replace(config, wording=WORDING), None
    if isinstance(config, Mapping):
        return Settings.load(mapping(config, "config"), environment(), wording=WORDING), None
    from sagaz import SagaConfig

    if not isinstance(config, SagaConfig):
        raise SettingsError(
            f"create_lifespan(config=…) takes a sagaz.SagaConfig, a mapping such as {{'STORAGE_URL': …}} or Settings, "
            f"and was given a {type(config).__name__}. To wrap a lifespan of your own use create_lifespan(lifespan=…)."
        )
    return Settings.from_env(wording=WORDING), config

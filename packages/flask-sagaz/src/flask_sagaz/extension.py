"""The extension: durable sagas for one or more Flask applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask
from werkzeug.local import LocalProxy

from flask_sagaz._app_state import KEY, AppState, current_state
from flask_sagaz._cli_group import sagaz_group
from flask_sagaz._flask_g import globals_class
from flask_sagaz._middleware import Correlation
from flask_sagaz._own_transaction import OwnTransaction
from flask_sagaz._server_check import check_server
from flask_sagaz._settings import WORDING, AppSettings
from flask_sagaz.http.serving import Serving
from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.engine.registry import SagaRegistry, listed
from sagaz_durable.runtime.client import form_of
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.error_text import type_name
from sagaz_integration_core.errors import RuntimeNotOpen, SettingsError

if TYPE_CHECKING:
    from sagaz import Saga, SagaConfig

    from sagaz_durable.engine.registry import SagaSpec
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.operations.health import ProbeResult
    from sagaz_durable.runtime.bound_saga import Binding
    from sagaz_durable.runtime.runtime import SagazRuntime

    S = TypeVar("S", bound=Saga)

__all__ = ["SagazExtension", "current_sagaz"]


class SagazExtension(Serving):
    """Makes sagas durable in the applications that it is given: here, or by `init_app`.

    What it keeps for an application is in ``app.extensions["sagaz"]``; its methods work for the application at hand.

    Args:
        config: A ``SagaConfig`` of sagaz; by default what was given to ``sagaz.configure``.
        storage_url: Where runs are kept; by default ``app.config["SAGAZ_STORAGE_URL"]``, else the environment's.
            All other settings are read from ``SAGAZ_…`` in the same two places.
        sagas: Classes, or (class, factory) pairs, that a worker must know before a request has used them.
        worker: Run a worker inside every process that serves the application, from its first request on.
        session_factory: Returns the session for each call of a transactional step (``@effect("transactional")``), on
            the database of the runs: Flask-SQLAlchemy's ``db.session``, SQLAlchemy's ``sessionmaker``, or what returns
            a connection of psycopg, as a pool's ``connection``.
        propagate_to_context: Whether sagas that a request starts get its correlation id as ``correlation_id`` in their
            context.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        config: SagaConfig | None = None,
        storage_url: str | None = None,
        sagas: Iterable[SagaSpec] = (),
        worker: bool = False,
        session_factory: Callable[[], Any] | None = None,
        propagate_to_context: bool = True,
    ) -> None:
        self._config = config
        self._storage_url = storage_url
        self._sagas = listed(sagas)
        self._worker = worker
        self._session_factory = session_factory
        self._propagate = propagate_to_context
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Prepare an application; no thread is started and nothing is connected before it is needed.

        Settings may follow: they are read when the application first handles a request or uses a saga.

        Raises:
            SettingsError: The application has an extension already, a setting is wrong, or the server cannot do it.
            SagaDefinitionError: A saga cannot be run as written.
        """
        if not isinstance(app, Flask):
            raise SettingsError(
                f"SagazExtension is for a flask.Flask, and was given {_told(app)}. ASGI applications, as "
                "Quart's, are none; for FastAPI there is fastapi-sagaz."
            )
        if KEY in app.extensions:
            raise SettingsError(
                f"The application {app.name!r} has a SagazExtension already. Call init_app once for each application, "
                "and not at all for the one that was given to SagazExtension(app)."
            )
        check_server()
        settings = AppSettings(app, self._storage_url, worker=self._worker)
        registry = SagaRegistry(self._sagas, wording=WORDING)
        state = AppState(
            app, self, settings, registry, config=self._config, worker=self._worker,
            session_factory=self._session_factory,
        )  # fmt: skip
        app.wsgi_app = Correlation(app.wsgi_app, state.requests, propagate=self._propagate)  # type: ignore[method-assign]
        app.app_ctx_globals_class = globals_class(app.app_ctx_globals_class)
        app.cli.add_command(sagaz_group)
        app.extensions[KEY] = state

    @property
    def config(self) -> SagaConfig:
        """The application's ``SagaConfig``; its storage looks runs up in the runtime's own store."""
        config: SagaConfig = self._runtime().config
        return config

    def create_saga(self, saga_class: type[S]) -> S:
        """Return an instance whose runs are durable: for `run_sync`, `run_background`, and ``await saga.run(…)``.

        Raises:
            RuntimeNotOpen: There is no application at hand, or the process is shutting down.
            SagaDefinitionError: The class cannot be run as written.
            StoreUnavailable: The store cannot be opened.
        """
        from sagaz_durable.runtime.bound_saga import bind

        return bind(self._runtime(), saga_class, instead="In a view: sagaz.run_sync(saga, context)")

    @property
    def sagas(self) -> Sagas:
        """Everything that can be done with the application's sagas, with ``await`` or by its ``…_sync`` forms.

        The methods below that have a verb's name are its ``…_sync`` form, which the extension itself has for short.
        Besides them: ``approval_token``, ``read_approval`` and ``decide_approval_sync``.
        """
        from flask_sagaz._approvals import Sagas

        return Sagas(self._runtime())

    def run_sync(
        self,
        saga: Saga,
        context: ContextLike = NOTHING,
        saga_id: str | None = None,
        *,
        idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None,
        owner: str | None = None,
    ) -> SagaRun:
        """Execute a saga from `create_saga`, wait for its end and return its result; see `Sagas.run`.

        Commit first: its steps have sessions of their own, and wait for rows that this thread's transaction changed.
        """
        bound, own = _binding(saga), OwnTransaction(saga)
        try:
            return bound.runtime.call(
                lambda: bound.execute(
                    context, saga_id, idempotency_key=idempotency_key, deadline=deadline, owner=owner
                ),
                slow=own.suspect,
            )
        except Exception as error:
            own.explain(error)
            raise

    def run_background(
        self, saga: Saga, context: ContextLike = NOTHING, *, idempotency_key: str | None = None,
        deadline: datetime | timedelta | None = None, owner: str | None = None,
    ) -> str:  # fmt: skip
        """Record a run of a saga from `create_saga`, have this process execute it, and return its saga_id.

        It is not affected by what becomes of the request; see `Sagas.run_background`.
        """
        bound = _binding(saga)
        return Sagas(bound.runtime).run_background_sync(
            bound.saga_class, context, idempotency_key=idempotency_key, deadline=deadline, owner=owner
        )

    @form_of(Sagas.start_sync)
    def start(self, *args: Any, **options: Any) -> Any:
        """Record a run for a worker, with ``session=db.session`` in its transaction; see `Sagas.start`."""
        return self.sagas.start_sync(*args, **options)

    @form_of(Sagas.start_many_sync)
    def start_many(self, *args: Any, **options: Any) -> Any:
        """Record many runs of one saga in one statement, all of them or none; see `Sagas.start_many`."""
        return self.sagas.start_many_sync(*args, **options)

    @form_of(Sagas.send_signal_sync)
    def send_signal(self, *args: Any, **options: Any) -> Any:
        """Send a signal, with ``session=db.session`` in its transaction; True if it is new. See `Sagas.send_signal`."""
        return self.sagas.send_signal_sync(*args, **options)

    @form_of(Sagas.run_now_sync)
    def run_now(self, *args: Any, **options: Any) -> Any:
        """Bring forward what is delayed or asleep; see `Sagas.run_now`."""
        return self.sagas.run_now_sync(*args, **options)

    @form_of(Sagas.publish_sync)
    def publish(self, *args: Any, **options: Any) -> Any:
        """Record an event for the broker, with ``session=db.session`` in its transaction; see `Sagas.publish`."""
        return self.sagas.publish_sync(*args, **options)

    @form_of(Sagas.status_sync)
    def status(self, *args: Any, **options: Any) -> Any:
        """Return all that is known of a run; see `Sagas.status`."""
        return self.sagas.status_sync(*args, **options)

    @form_of(Sagas.retry_sync)
    def retry(self, *args: Any, **options: Any) -> Any:
        """Have a failed run go on where it stopped, or have its compensation tried again; see `Sagas.retry`."""
        return self.sagas.retry_sync(*args, **options)

    @form_of(Sagas.cancel_sync)
    def cancel(self, *args: Any, **options: Any) -> Any:
        """Have a run compensate what it has done, instead of going on; see `Sagas.cancel`."""
        return self.sagas.cancel_sync(*args, **options)

    @form_of(Sagas.resolve_sync)
    def resolve(self, *args: Any, **options: Any) -> Any:
        """Note that a person has settled a failed run outside; see `Sagas.resolve`."""
        return self.sagas.resolve_sync(*args, **options)

    def load_saga_state(self, saga_id: str) -> dict[str, Any] | None:
        """Return a run's status, context, steps and error, as ``config.storage`` has them; None when there is none."""
        runtime = self._runtime()
        state: dict[str, Any] | None = runtime.call(lambda: runtime.config.storage.load_saga_state(saga_id))
        return state

    def readiness(self) -> ProbeResult:
        """Tell whether sagas can be started now: the store answers within 2 s, and lacks neither tables nor rights.

        For a health route. It is true when all is well, else its ``problem`` says what to do; it raises nothing.
        """
        return self._state().process().readiness()

    def liveness(self) -> ProbeResult:
        """Tell whether this process does its work; if not, restarting it helps. An unreachable store is no reason."""
        return self._state().process().liveness()

    def close(self) -> None:
        """Drain and close the runtime of the application at hand in this process; its next use opens another.

        Not needed as a rule: it happens when the process exits and when the application is dropped.
        """
        self._state().process().close()

    def _runtime(self) -> SagazRuntime:
        return self._state().process().get()

    def _state(self) -> AppState:
        state = current_state()
        if state.extension is not self:
            raise RuntimeNotOpen(
                "This SagazExtension is not that of the application at hand. Use the one that was given to it, or "
                "current_sagaz."
            )
        return state


def _told(app: object) -> str:
    kind = type(app)
    return f"a {kind.__module__}.{type_name(app)}"


def _binding(saga: Saga) -> Binding:
    from sagaz_durable.runtime.bound_saga import binding_of

    return binding_of(saga, f"sagaz.create_saga({type(saga).__name__})")


def _current_extension() -> object:
    return current_state().extension


current_sagaz: SagazExtension = LocalProxy(_current_extension)  # type: ignore[assignment]
"""The `SagazExtension` of the application at hand."""

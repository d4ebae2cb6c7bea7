"""What the extension keeps for one application: its settings, its sagas, and a runtime in each process."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import current_app, has_app_context

from flask_sagaz._middleware import RequestSettings
from sagaz_durable import configured_globally
from sagaz_durable.concurrency.process_id import current_pid
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.settings.urls import parse_storage_url
from sagaz_integration_core.errors import RuntimeNotOpen, SagazError, SettingsError

if TYPE_CHECKING:
    from flask import Flask

    from flask_sagaz._runtime import FlaskRuntime
    from flask_sagaz._settings import AppSettings
    from sagaz_durable.operations.health import ProbeResult
    from sagaz_durable.runtime.loop_thread import RuntimeThread
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_durable.settings.settings import Settings

__all__ = ["KEY", "SOURCES", "AppState", "current_state"]

KEY = "sagaz"
"""Where the extension keeps an application's state, in ``app.extensions``."""

SOURCES = "sagaz_webhook_sources"
"""Where blueprints note the names of the sources of which they take webhooks."""


def current_state() -> AppState:
    """Return what the extension keeps for the application at hand.

    Raises:
        RuntimeNotOpen: There is no application at hand, or it has no extension.
    """
    if not has_app_context():
        raise RuntimeNotOpen(
            "sagaz was used outside of an application. Use it in a request, a command or a step, or within "
            "`with app.app_context():`."
        )
    state: AppState | None = current_app.extensions.get(KEY)
    if state is None:
        raise RuntimeNotOpen(
            f"The application {current_app.name!r} has no SagazExtension. Give it one: SagazExtension(app), or "
            "sagaz.init_app(app) where the application is made."
        )
    return state


class AppState:
    """One application's share of an extension; it lives in ``app.extensions`` and does not keep the application.

    Args:
        config: The user's ``SagaConfig``, if there is one.
        worker: Run a worker inside every process that serves the application.
        session_factory: Makes the sessions of transactional steps.

    Attributes:
        dispatch: Tells Celery's workers of starts, once `flask_sagaz.celery.register` has made it known.
    """

    def __init__(
        self,
        app: Flask,
        extension: object,
        settings: AppSettings,
        registry: SagaRegistry,
        *,
        config: Any,
        worker: bool,
        session_factory: Callable[[], Any] | None,
    ) -> None:
        self.extension = extension
        self._settings = settings
        self.registry = registry
        self.worker = worker
        self.dispatch: Callable[[Sequence[str]], None] | None = None
        self._config = config
        self._session_factory = session_factory
        self._app = weakref.ref(app)
        self._requests: RequestSettings | None = None
        # By process: a fork gets a runtime of its own, and leaves alone what it has inherited, locks included.
        self._processes: dict[int, ProcessRuntime] = {}

    @property
    def settings(self) -> Settings:
        """The settings, as they were at their first use."""
        return self._settings.get()

    def requests(self) -> RequestSettings:
        """Return what requests need of the settings."""
        if self._requests is None:
            settings = self._settings.get()
            # An SQLite file is made ready under its write lock, which a view may hold already when it first needs us.
            early = self._config is not None or parse_storage_url(settings.storage_url).path is not None
            prepare = partial(self._prepare, wait=early) if early or self.worker else None
            self._requests = RequestSettings(settings.header_name, prepare)
        return self._requests

    def process(self) -> ProcessRuntime:
        """Return this process's share."""
        pid = current_pid()
        found = self._processes.get(pid)
        return found or self._processes.setdefault(pid, ProcessRuntime(self._app, self))

    def follow(self, *, opened: bool) -> None:
        """See to what ``app.config`` says by now.

        Args:
            opened: Whether the runtime is open already, with the settings that there were.

        Raises:
            SettingsError: It is, and they have changed.
        """
        changed = self._settings.changed()
        if not changed:
            return
        if opened:
            raise SettingsError(
                f"{', '.join(changed)} changed in app.config after the sagaz runtime was opened, which goes on with "
                "what it found there. Change settings before the first request and the first saga, or call "
                "sagaz.close() before: the next use opens a runtime with the new ones."
            )
        self.forget_settings()

    def forget_settings(self) -> None:
        """Have the next use read the settings again."""
        self._settings.forget()
        self._requests = None

    def _prepare(self, *, wait: bool) -> None:
        self.process().prepare(wait=wait)

    def new_runtime(self, *, worker: bool | None = None) -> FlaskRuntime:
        """Make a runtime, not opened yet; ``worker`` replaces the application's own wish."""
        # Here and below: asyncio, and what executes runs, are loaded with the first saga and not with the application.
        from flask_sagaz._runtime import FlaskRuntime

        app = self._app()
        from sagaz_durable.intake.served import check_served

        check_served(self.registry, () if app is None else app.extensions.get(SOURCES, ()))
        config = self._config if self._config is not None else configured_globally()
        embedded = self.worker if worker is None else worker
        return FlaskRuntime(
            self._app, self._settings.get(), self.registry, config=config, worker=embedded, dispatch=self.dispatch,
            session_factory=self._session_factory,
        )  # fmt: skip


class ProcessRuntime:
    """The runtime of one application in one process, opened when it is first needed."""

    def __init__(self, app: weakref.ref[Flask], state: AppState) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._thread: RuntimeThread | None = None
        self._given: SagazRuntime | None = None
        if (living := app()) is not None:
            # At exit something else ends it, earlier.
            weakref.finalize(living, self._stop).atexit = False

    def get(self) -> SagazRuntime:
        """Return the open runtime, and open it when that is needed.

        Raises:
            SettingsError: The settings contradict each other or have changed, or threads are greenlets.
            StoreUnavailable: The store cannot be opened.
        """
        self._state.follow(opened=self._given is not None or self._is_begun())
        return self._given or self.begin().opened.result()

    def begin(self) -> RuntimeThread:
        """Start the thread of the runtime, unless it is there, without waiting until the runtime is open."""
        thread = self._thread
        if thread is not None and not thread.failed:
            return thread
        with self._lock:
            if self._thread is None or self._thread.failed:
                from sagaz_durable.runtime.loop_thread import RuntimeThread

                self._thread = RuntimeThread(self._state.new_runtime())
                self._thread.start()
            return self._thread

    def _is_begun(self) -> bool:
        thread = self._thread
        return thread is not None and not thread.failed

    def prepare(self, *, wait: bool) -> None:
        """Do as `begin`, but try a store that could not be opened at most once a second, and leave its error alone."""
        thread = self._thread
        if thread is None or (thread.failed and time.monotonic() - thread.started_at > 1):
            thread = self.begin()
        if wait:
            thread.opened.exception()

    def readiness(self) -> ProbeResult:
        """Tell whether the runtime, which is opened for that if need be, can start runs."""
        from sagaz_durable.operations.health import ProbeResult, readiness_sync

        try:
            runtime = self.get()
        except SagazError as error:
            return ProbeResult(False, str(error))
        return readiness_sync(runtime)

    def liveness(self) -> ProbeResult:
        """Tell whether the runtime does its work; one that nobody has needed yet does."""
        from sagaz_durable.operations.health import ProbeResult, liveness

        thread = self._thread
        return ProbeResult(True) if thread is None else liveness(thread.runtime)

    def _stop(self) -> None:
        if self._thread is not None:
            self._thread.stop()

    def use(self, runtime: SagazRuntime | None) -> None:
        """Have this runtime used, which a command has opened on its own event loop; None takes that back."""
        self._given = runtime

    def close(self) -> None:
        """Drain and close the runtime, and wait for it; the next use opens another one."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._state.forget_settings()
        if thread is not None:
            thread.stop()
            thread.join()

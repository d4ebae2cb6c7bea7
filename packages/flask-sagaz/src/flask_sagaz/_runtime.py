"""A runtime for a Flask application that it does not keep alive, and whose contexts its steps get."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from flask_sagaz._step_context import without_request
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.runtime.start_warnings import warn_at_start
from sagaz_integration_core.errors import RunInterrupted

if TYPE_CHECKING:
    from flask import Flask

    from sagaz_durable.engine.execution import RunExecution
    from sagaz_durable.engine.registry import SagaRegistry
    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.settings.settings import Settings

__all__ = ["FlaskRuntime"]

T = TypeVar("T")


class FlaskRuntime(SagazRuntime):
    """The runtime of one Flask application in one process.

    Args:
        app: A weak reference; only while a run is executed is the application kept alive.
        registry: The application's, which outlives this runtime.
    """

    def __init__(
        self,
        app: weakref.ref[Flask],
        settings: Settings,
        registry: SagaRegistry,
        *,
        config: Any,
        worker: bool,
        dispatch: Callable[[Sequence[str]], None] | None = None,
        session_factory: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(
            settings, config=config, sagas=registry, app=app, worker=worker, step_scope=self._app_context,
            dispatch=dispatch, session_factory=session_factory,
        )  # fmt: skip
        self._kept: dict[asyncio.Task[SagaRun], Flask | None] = {}

    def _app_context(self) -> AbstractContextManager[Any]:
        # Its teardown removes Flask-SQLAlchemy's session, and closes whatever else belongs to the context.
        context: AbstractContextManager[Any] = self.app.app_context()
        return context

    async def begin(self, app_state: Any = None) -> None:
        """Tell of settings without use, and start the embedded worker, if there is to be one."""
        warn_at_start(self)
        await super().begin(app_state)

    def on_execute(self, execution: RunExecution, task: asyncio.Task[SagaRun]) -> None:
        """Keep the application, which steps need, until the run has ended."""
        super().on_execute(execution, task)
        app: Flask | None = self.app
        if app is None:
            execution.halt(RunInterrupted("its application was dropped."))
        self._kept[task] = app
        task.add_done_callback(self._kept.pop)

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Have the event loop do asynchronous work, without the caller's request."""
        return without_request().run(super().submit, work)

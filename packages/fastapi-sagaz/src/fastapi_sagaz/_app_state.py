"""Which runtime belongs to which application: kept on the application itself, so that no two share one by accident."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from starlette.datastructures import State
from starlette.requests import HTTPConnection

from sagaz_integration_core.errors import RuntimeNotOpen

if TYPE_CHECKING:
    import asyncio

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["OpenApp", "attached", "open_app", "runtime_of"]

_ATTRIBUTE = "_fastapi_sagaz"


class OpenApp:
    """An application whose lifespan has opened a runtime.

    Args:
        config, worker, session_factory: What `create_lifespan` was given, to tell a contradiction from a repetition.
    """

    def __init__(self, runtime: SagazRuntime, config: object, *, worker: bool, session_factory: object) -> None:
        self.runtime = runtime
        self.config = config
        self.worker = worker
        self.session_factory = session_factory
        self._values: dict[str, Any] = {}
        runtime.app_state = State(self._values)
        self._beginning: asyncio.Task[None] | None = None

    def add_state(self, state: Mapping[str, Any] | None) -> None:
        """Let steps see what a lifespan yielded; an outer one wins, as in Starlette's own state."""
        self._values.update({key: value for key, value in (state or {}).items() if key not in self._values})

    def begin_soon(self) -> None:
        """Start the embedded worker, if there is to be one, when the event loop comes round.

        FastAPI enters the lifespans of included routers right after this; `postpone` gives them their turn first.
        """
        # FastAPI itself does not import it before it serves.
        import asyncio

        begin = self.runtime.begin(self.runtime.app_state)
        self._beginning = asyncio.get_running_loop().create_task(begin)

    def postpone(self) -> None:
        """Take `begin_soon` back, unless it has begun."""
        if self._beginning is not None:
            self._beginning.cancel()

    @asynccontextmanager
    async def working(self, state: Mapping[str, Any] | None) -> AsyncIterator[None]:
        """Have runs executed within the block, with what a lifespan yielded; at its end they are drained."""
        self.add_state(state)
        self.begin_soon()
        try:
            yield
        finally:
            self.postpone()
            await self.runtime.drain()


@contextmanager
def attached(app: Any, opened: OpenApp) -> Iterator[None]:
    """Have an application's requests find the runtime within the block."""
    setattr(app.state, _ATTRIBUTE, opened)
    try:
        yield
    finally:
        delattr(app.state, _ATTRIBUTE)


def open_app(app: Any) -> OpenApp | None:
    """Return what `attached` gave this application, if it did."""
    opened = getattr(getattr(app, "state", None), _ATTRIBUTE, None)
    return opened if isinstance(opened, OpenApp) and opened.runtime.app is app else None


def runtime_of(connection: HTTPConnection) -> SagazRuntime:
    """Return the open runtime of the application that handles this request.

    Raises:
        RuntimeNotOpen: With the two lines that open one.
    """
    opened = open_app(connection.app)
    if opened is None:
        raise RuntimeNotOpen(_MOUNTED if "app_root_path" in connection.scope else _PLAIN)
    return opened.runtime


_PLAIN = """No sagaz runtime is open for this application. Its lifespan opens one:

    from fastapi_sagaz import create_lifespan
    app = FastAPI(lifespan=create_lifespan())

In tests the lifespan runs within `with TestClient(app) as client:`."""

_MOUNTED = """No sagaz runtime is open for this mounted application. It needs a lifespan of its own, \
FastAPI(lifespan=create_lifespan()), which Starlette does not run: enter it in the parent application's lifespan:

    async with sub_app.router.lifespan_context(sub_app):
        yield"""

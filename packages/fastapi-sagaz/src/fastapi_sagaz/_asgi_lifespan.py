"""Loading an application as servers do, and entering its lifespan without serving it, to get hold of its runtime."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message

from sagaz_durable import without_collections
from sagaz_integration_core.error_text import type_name, value_text, visible
from sagaz_integration_core.errors import SagazError, SettingsError

if TYPE_CHECKING:
    import asyncio

    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Visit", "VisitOver", "current_visit", "entered", "load_app", "visiting"]


def load_app(target: str, *, factory: bool = False) -> ASGIApp:
    """Import ``MODULE:APP`` from the current directory.

    Args:
        factory: Whether APP is a function that makes the application.

    Raises:
        SettingsError: There is no such module, or nothing of that name in it.
    """
    module_name, colon, path = target.partition(":")
    if not (colon and all(map(str.isidentifier, module_name.split(".") + path.split(".")))):
        raise SettingsError(
            f"{value_text(target, 200)} names no application; expected MODULE:APP, e.g. main:app or shop.web:app."
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    found: Any = _module(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise SettingsError(f"{target!r}: {_told(found)} has no {name!r}. Expected MODULE:APP, e.g. main:app.")
        found = getattr(found, name)
    return _made(target, found) if factory else _checked(target, found)


def _module(name: str) -> Any:
    try:
        with without_collections():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise SettingsError(
            f"There is no module {name!r} here. The current directory and PYTHONPATH are searched; for a file "
            "src/shop/web.py either install the project or run the command in src, with shop.web:app."
        ) from None


def _made(target: str, factory: Callable[[], Any]) -> ASGIApp:
    if not callable(factory):
        raise SettingsError(f"{target!r} is no function, so that --factory cannot call it.")
    try:
        inspect.signature(factory).bind()
    except (TypeError, ValueError):
        raise SettingsError(
            f"--factory calls {target!r} without arguments, and that it does not take; expected a function such as "
            "def create_app() -> FastAPI."
        ) from None
    return _checked(target, factory())


def _checked(target: str, app: Any) -> ASGIApp:
    """Refuse what no server could serve either: an ASGI application is called for each scope, and awaited."""
    call = app if inspect.isfunction(app) else getattr(type(app), "__call__", None)  # noqa: B004 - it is looked into
    if inspect.isclass(app) or not inspect.iscoroutinefunction(call):
        hint = " (with --factory it is called for one)" if callable(app) else ""
        raise SettingsError(
            f"{target!r} is {_told(app)}, and no ASGI application{hint}. Expected MODULE:APP, e.g. main:app."
        )
    return app  # type: ignore[no-any-return]


def _told(found: Any) -> str:
    kinds: dict[str, Callable[[object], bool]] = {
        "module": inspect.ismodule,
        "class": inspect.isclass,
        "function": inspect.isfunction,
    }
    named = [kind for kind, is_one in kinds.items() if is_one(found)]
    return f"the {named[0]} {visible(found.__name__, 100)!r}" if named else f"a {type_name(found)}"


@asynccontextmanager
async def entered(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Have an application start up before the block and shut down after it; yields the state of its lifespan.

    Raises:
        Exception: What its start-up or shutdown raised.
    """
    import asyncio

    state: dict[str, Any] = {}
    orders: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}

    async def run() -> None:
        await app(scope, orders.get, answers.put)

    task = asyncio.create_task(run(), name="lifespan")
    await _order("startup", task, orders, answers)
    try:
        yield state
    finally:
        await _order("shutdown", task, orders, answers)


async def _order(
    phase: str, task: asyncio.Task[None], orders: asyncio.Queue[Message], answers: asyncio.Queue[Message]
) -> None:
    import asyncio

    orders.put_nowait({"type": f"lifespan.{phase}"})
    answer = asyncio.create_task(answers.get())
    await asyncio.wait([task, answer], return_when=asyncio.FIRST_COMPLETED)
    # What was said right before the task ended has arrived, and is still to be noticed.
    await asyncio.sleep(0)
    if answer.done() and answer.result()["type"] == f"lifespan.{phase}.complete":
        return
    said = answer.result().get("message") if answer.done() else None
    answer.cancel()
    if said is not None or (task.done() and isinstance(task.exception(), SagazError)):
        await task
        raise RuntimeError(f"The application's {phase} failed. {said}")
    # Whoever knows nothing of lifespans returns, or raises what it likes; servers take both for an answer.
    await asyncio.wait([task])
    raise SettingsError(
        "The application does not know the ASGI lifespan protocol, with which its sagas are opened. Expected a FastAPI "
        "application: app = FastAPI(lifespan=create_lifespan())."
    ) from task.exception()


class VisitOver(Exception):
    """Ends an application's start-up: the command has what it came for, and none of the application's resources."""


class Visit:
    """One command's visit to an application.

    Args:
        enter: Whether the whole lifespan is wanted, or only the runtime, not opened.
        only_reads: Whether the command writes nothing, and needs no right to.

    Attributes:
        runtime: That of the first `create_lifespan` that the start-up came to.
    """

    def __init__(self, *, enter: bool, only_reads: bool = False) -> None:
        self._enter = enter
        self._only_reads = only_reads
        self.runtime: SagazRuntime | None = None

    def meet(self, runtime: SagazRuntime) -> None:
        """Take the runtime that a lifespan is about to open.

        Raises:
            VisitOver: Nothing more is wanted.
        """
        if self.runtime is None:
            self.runtime = runtime
            runtime.only_reads = self._only_reads
        if not self._enter:
            raise VisitOver


_visit: ContextVar[Visit | None] = ContextVar("fastapi_sagaz_visit", default=None)


def current_visit() -> Visit | None:
    """Return the command that has this lifespan entered, if it is not a server."""
    return _visit.get()


@contextmanager
def visiting(visit: Visit) -> Iterator[None]:
    """Have lifespans that are entered within the block know that a command does it."""
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)

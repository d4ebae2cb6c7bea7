"""Loading an application as servers do, and entering its lifespan without serving it."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from sagaz_integration_core.errors import SettingsError

__all__ = ["entered", "load_app"]


def load_app(target: str, *, factory: bool = False) -> ASGIApp:
    """Import ``MODULE:APP`` from the current directory.

    Args:
        factory: Whether APP is a function that makes the application.

    Raises:
        SettingsError: There is no such module, or nothing of that name in it.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise SettingsError(f"{target!r} names no application; expected MODULE:APP, e.g. main:app or shop.web:app.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    found: Any = _module(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise SettingsError(f"{target!r}: {found!r} has no {name!r}. Expected MODULE:APP, e.g. main:app.")
        found = getattr(found, name)
    return _made(target, found) if factory else _checked(target, found)


def _module(name: str) -> Any:
    try:
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
    return _checked(target, factory())


def _checked(target: str, app: Any) -> ASGIApp:
    if not callable(app):
        raise SettingsError(f"{target!r} is a {type(app).__name__}, and no ASGI application.")
    return app  # type: ignore[no-any-return]


@asynccontextmanager
async def entered(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Have an application start up before the block and shut down after it; yields the state of its lifespan.

    Raises:
        Exception: What its start-up or shutdown raised.
    """
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
    orders.put_nowait({"type": f"lifespan.{phase}"})
    answer = asyncio.create_task(answers.get())
    await asyncio.wait([task, answer], return_when=asyncio.FIRST_COMPLETED)
    if answer.done() and answer.result()["type"] == f"lifespan.{phase}.complete":
        return
    said = answer.result().get("message") if answer.done() else None
    answer.cancel()
    await task
    raise RuntimeError(f"The application's {phase} failed. {said or 'It does not know the ASGI lifespan protocol.'}")

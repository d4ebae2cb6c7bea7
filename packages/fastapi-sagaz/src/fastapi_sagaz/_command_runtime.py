"""The runtime of the application that a command names, by way of its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi_sagaz._asgi_lifespan import Visit, VisitOver, entered, load_app, visiting
from sagaz_durable.cli.worker import logging_to_stderr
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_integration_core.errors import SettingsError

__all__ = ["opened_runtime", "unopened_runtime"]


@asynccontextmanager
async def opened_runtime(target: str, *, factory: bool, only_reads: bool) -> AsyncIterator[SagazRuntime]:
    """Enter the application's whole lifespan; no worker of its own starts.

    Args:
        target: ``MODULE:APP``.
        factory: Whether APP is a function that makes the application.
        only_reads: Whether nothing will be written.
    """
    app = load_app(target, factory=factory)
    visit = Visit(enter=True, only_reads=only_reads)
    with logging_to_stderr(), visiting(visit):
        async with entered(app) as state:
            runtime = _met(visit, target)
            # What routers' own lifespans yielded is known only now.
            runtime.app_state = type(runtime.app_state)(state)
            yield runtime


async def unopened_runtime(target: str, *, factory: bool) -> SagazRuntime:
    """Return the application's runtime, not opened, and enter none of its resources; see `opened_runtime`."""
    app = load_app(target, factory=factory)
    visit = Visit(enter=False)
    with visiting(visit):
        try:
            async with entered(app):
                return _met(visit, target)
        except VisitOver:
            return _met(visit, target)


def _met(visit: Visit, target: str) -> SagazRuntime:
    if visit.runtime is None:
        raise SettingsError(
            f"The application {target} has no sagas: its lifespan comes to no create_lifespan(). "
            "Expected app = FastAPI(lifespan=create_lifespan())."
        )
    return visit.runtime

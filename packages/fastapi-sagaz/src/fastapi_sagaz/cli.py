"""The command ``fastapi-sagaz``: a worker, and what people and probes ask of an application's sagas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from fastapi_sagaz._asgi_lifespan import entered, load_app
from fastapi_sagaz._lifespan_probe import Visit, VisitOver, visiting
from fastapi_sagaz._train import newer_than_tested
from sagaz_durable.cli import worker as working
from sagaz_durable.cli.click_commands import (
    add_operator_commands,
    check_options,
    concurrency_option,
    heartbeat_file_option,
    print_health,
)
from sagaz_durable.cli.click_events import add_events_command
from sagaz_durable.cli.runs import Said
from sagaz_durable.operations import catalogue as commands
from sagaz_durable.operations import checking
from sagaz_durable.operations.checking import Limits
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.runtime.start_warnings import warn_at_start
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.error_text import visible_lines
from sagaz_integration_core.errors import SagazError, SettingsError

__all__ = ["main"]

T = TypeVar("T")

_SAGAS_HINT = "create_lifespan(sagas=[…])"
_WORKER_HINT = "create_lifespan(worker=True)"

_target = click.argument("app", metavar="MODULE:APP")
_factory = click.option("--factory", is_flag=True, help="APP is a function that returns the application.")


@click.group()
@click.version_option(package_name="fastapi-sagaz")
def main() -> None:
    """Work on, look at and set up the sagas of a FastAPI application.

    MODULE:APP is what uvicorn takes, e.g. main:app; the SAGAZ_… environment variables are those of the server.
    """


@main.command()
@_target
@_factory
@concurrency_option
@click.option("--drain", is_flag=True, help="Execute what is due, and exit.")
@heartbeat_file_option
def worker(app: str, factory: bool, concurrency: int | None, drain: bool, heartbeat_file: str | None) -> None:
    """Execute runs: started ones, and those whose process died.

    The application's lifespan is entered, so that steps find what they find in the server. The first SIGTERM or SIGINT
    lets running sagas end within SAGAZ_DRAIN_SECONDS, gives the rest back and exits with 0; a second one exits at once,
    with 143 or 130.
    """

    async def run() -> None:
        async with _in_lifespan(app, factory) as runtime:
            warn_at_start(runtime)
            ended = await working.work(
                runtime,
                concurrency=concurrency,
                drain=drain,
                tell=click.echo,
                sagas_hint=_SAGAS_HINT,
                worker_hint=_WORKER_HINT,
                heartbeat_file=heartbeat_file,
            )
        click.echo(f"Done: {summary(ended)}.")

    _do(run)


@main.command()
@_target
@_factory
@check_options
def check(app: str, factory: bool, limits: Limits, only_reads: bool, output: str) -> None:
    """Look at the store and at what works on it: exit with 0 when all is well, with 1 when not.

    Failed runs, which need a person, are no reason to exit with 1 unless --max-failed says so.
    """

    async def run() -> checking.Health:
        return await checking.check(await _runtime(app, factory), limits, only_reads=only_reads)

    health = _do(run)
    if information := newer_than_tested():
        click.echo(information, err=True)  # stdout is the answer, which may be JSON
    print_health(health, output)


@main.command()
@_target
@_factory
def migrate(app: str, factory: bool) -> None:
    """Create the tables in PostgreSQL, or bring them up to date."""

    async def run() -> str:
        return await commands.migrate(await _runtime(app, factory))

    click.echo(_do(run))


def _operate(
    work: Callable[[SagazRuntime], Coroutine[Any, Any, Said]], app: str, factory: bool, *, only_reads: bool = False
) -> Said:
    async def run() -> Said:
        async with _in_lifespan(app, factory, only_reads=only_reads) as runtime:
            return await work(runtime)

    return _do(run)


_params: list[click.Parameter] = [
    click.Argument(["app"], metavar="MODULE:APP"),
    click.Option(["--factory"], is_flag=True, help="APP is a function that returns the application."),
]
add_operator_commands(main, _operate, hint=_SAGAS_HINT, target=_params)
add_events_command(main, _operate, target=_params)


def _do(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return asyncio.run(run())
    except SagazError as error:
        raise click.ClickException(visible_lines(str(error))) from error


@asynccontextmanager
async def _in_lifespan(target: str, factory: bool, *, only_reads: bool = False) -> AsyncIterator[SagazRuntime]:
    """Enter the application's whole lifespan; no worker of its own starts."""
    app = load_app(target, factory=factory)
    visit = Visit(enter=True, only_reads=only_reads)
    with working.logging_to_stderr(), visiting(visit):
        async with entered(app) as state:
            runtime = _met(visit, target)
            # What routers' own lifespans yielded is known only now.
            runtime.app_state = type(runtime.app_state)(state)
            yield runtime


async def _runtime(target: str, factory: bool) -> SagazRuntime:
    """Return the application's runtime, not opened, and enter none of its resources."""
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

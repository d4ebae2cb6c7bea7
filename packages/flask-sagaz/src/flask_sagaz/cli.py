"""The command ``flask sagaz``: a worker, and what people and probes ask of an application's sagas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from flask.cli import with_appcontext

from flask_sagaz._app_state import current_state
from flask_sagaz._cli_group import sagaz_group
from sagaz_durable.cli import worker as working
from sagaz_durable.cli.click_commands import (
    add_operator_commands,
    check_options,
    concurrency_option,
    heartbeat_file_option,
    print_health,
)
from sagaz_durable.cli.click_events import add_events_command
from sagaz_durable.operations import catalogue as commands
from sagaz_durable.operations import checking
from sagaz_durable.operations.checking import Limits
from sagaz_durable.runtime.start_warnings import warn_at_start
from sagaz_durable.workers.worker import summary
from sagaz_integration_core.error_text import visible_lines
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.cli.runs import Said
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["sagaz_group"]

T = TypeVar("T")

_SAGAS_HINT = "SagazExtension(sagas=[…])"
_WORKER_HINT = "SagazExtension(worker=True)"


@sagaz_group.command()
@concurrency_option
@click.option("--drain", is_flag=True, help="Execute what is due, and exit.")
@heartbeat_file_option
def worker(concurrency: int | None, drain: bool, heartbeat_file: str | None) -> None:
    """Execute runs: started ones, and those whose process died.

    The first SIGTERM or SIGINT lets running sagas end within SAGAZ_DRAIN_SECONDS, gives the rest back and exits with 0;
    a second one exits at once, with 143 or 130.
    """

    async def run() -> None:
        async with _opened() as runtime:
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

    with working.logging_to_stderr():
        _do(run)


@sagaz_group.command()
@check_options
def check(limits: Limits, only_reads: bool, output: str) -> None:
    """Look at the store and at what works on it: exit with 0 when all is well, with 1 when not.

    Failed runs, which need a person, are no reason to exit with 1 unless --max-failed says so.
    """
    print_health(_do(lambda: checking.check(_runtime(), limits, only_reads=only_reads)), output)


@sagaz_group.command()
def migrate() -> None:
    """Create the tables in PostgreSQL, or bring them up to date."""
    click.echo(_do(lambda: commands.migrate(_runtime())))


Work = Callable[["SagazRuntime"], Coroutine[Any, Any, "Said"]]


@with_appcontext
def _look(work: Work, *, only_reads: bool) -> Said:
    return _do(lambda: work(_runtime()))


@with_appcontext
def _operate(work: Work, *, only_reads: bool = False) -> Said:
    async def run() -> Said:
        async with _opened(only_reads=only_reads) as runtime:
            return await work(runtime)

    return _do(run)


add_operator_commands(sagaz_group, _operate, look=_look, hint=_SAGAS_HINT)
add_events_command(sagaz_group, _operate)


def _do(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return asyncio.run(run())
    except SagazError as error:
        raise click.ClickException(visible_lines(str(error))) from error


@asynccontextmanager
async def _opened(*, only_reads: bool = False) -> AsyncIterator[SagazRuntime]:
    """Open the application's runtime on this event loop; steps that start further sagas find it, too."""
    runtime = _runtime()
    runtime.only_reads = only_reads
    await runtime.open()
    process = current_state().process()
    process.use(runtime)
    try:
        yield runtime
    finally:
        process.use(None)
        await runtime.close()


def _runtime() -> SagazRuntime:
    """Return a runtime of the application, not opened, without a worker of its own."""
    try:
        return current_state().new_runtime(worker=False)
    except SagazError as error:
        raise click.ClickException(visible_lines(str(error))) from error

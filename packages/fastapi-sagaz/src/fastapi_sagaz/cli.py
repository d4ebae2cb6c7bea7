"""The command ``fastapi-sagaz``: a worker, and what people and probes ask of an application's sagas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sagaz_durable import without_collections

with without_collections():
    import click

    from fastapi_sagaz._command_runtime import opened_runtime, unopened_runtime
    from fastapi_sagaz._train import newer_than_tested
    from fastapi_sagaz._wording import WORDING
    from sagaz_durable.cli.click_commands import click_commands
    from sagaz_durable.cli.command import Need
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["main"]


@click.group()
@click.version_option(package_name="fastapi-sagaz")
def main() -> None:
    """Work on, look at and set up the sagas of a FastAPI application.

    MODULE:APP is what uvicorn takes, e.g. main:app; the SAGAZ_… environment variables are those of the server. For
    check and migrate, the application's lifespan is entered as far as its sagas; for the others as a whole, so that
    steps in a worker find what they find in the server.
    """


@asynccontextmanager
async def _reach(need: Need, *, only_reads: bool, app: str, factory: bool) -> AsyncIterator[SagazRuntime]:
    if need != "runtime":
        async with opened_runtime(app, factory=factory, only_reads=only_reads) as runtime:
            yield runtime
        return
    runtime = await unopened_runtime(app, factory=factory)
    if click.get_current_context().info_name == "check" and (information := newer_than_tested()):
        click.echo(information, err=True)  # stdout is the answer, which may be JSON
    yield runtime


_TARGET = [
    click.Argument(["app"], metavar="MODULE:APP"),
    click.Option(["--factory"], is_flag=True, help="APP is a function that returns the application."),
]
for _command in click_commands(_reach, WORDING, target=_TARGET):
    main.add_command(_command)

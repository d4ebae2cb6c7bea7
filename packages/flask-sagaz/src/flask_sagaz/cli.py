"""The command ``flask sagaz``: a worker, and what people and probes ask of an application's sagas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from flask.cli import with_appcontext

from flask_sagaz._app_state import current_state
from flask_sagaz._cli_group import sagaz_group
from flask_sagaz._settings import WORDING
from sagaz_durable.cli.click_commands import click_commands
from sagaz_durable.cli.worker import logging_to_stderr

if TYPE_CHECKING:
    from sagaz_durable.cli.command import Need
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["sagaz_group"]


@asynccontextmanager
async def _reach(need: Need, *, only_reads: bool) -> AsyncIterator[SagazRuntime]:
    """Open the application's runtime on this event loop; steps that start further sagas find it, too."""
    state = current_state()
    runtime = state.new_runtime(worker=False)
    if need != "store":
        yield runtime
        return
    runtime.only_reads = only_reads
    process = state.process()
    with logging_to_stderr():
        await runtime.open()
        process.use(runtime)
        try:
            yield runtime
        finally:
            process.use(None)
            await runtime.close()


for _command in click_commands(_reach, WORDING):
    _command.callback = with_appcontext(cast("Callable[..., None]", _command.callback))
    sagaz_group.add_command(_command)

"""The command group ``flask sagaz``, whose commands are loaded when one is asked for."""

from __future__ import annotations

from importlib import import_module

import click
from flask.cli import AppGroup

from sagaz_durable import without_collections

__all__ = ["sagaz_group"]


class _Words(AppGroup):
    """Loads `flask_sagaz.cli`, which adds the commands to this group, at the first question."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the words."""
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a word."""
        self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        with without_collections():
            import_module("flask_sagaz.cli")


sagaz_group = _Words("sagaz", help="Work on, look at and set up the sagas of this application.")

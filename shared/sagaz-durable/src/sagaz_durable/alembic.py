"""Keeps Alembic's autogenerate from dropping the tables of sagas, which no application's metadata has."""

from __future__ import annotations

from typing import Any

from sagaz_integration_core.contract.schema import TABLES

__all__ = ["exclude_sagaz_tables"]

_SAGAZ_TABLES = frozenset(
    {
        "consumer_inbox",
        "outbox_events",
        "saga_outbox",
        "saga_outbox_archive",
        "saga_replay_log",
        "saga_snapshots",
        "saga_steps",
        "sagas",
    }
)
"""What sagaz's own storages make, where a ``SagaConfig`` names them. An application may have tables of such names."""


def exclude_sagaz_tables(object: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:  # noqa: A002
    """Tell Alembic which tables are the application's: ``include_object=exclude_sagaz_tables``.

    Ours are left alone in every schema, mapped by the application or not; sagaz's own where the application has no
    table of that name. In an ``include_object`` of your own, ask this first:
    ``exclude_sagaz_tables(*args) and mine(*args)``.

    Args:
        object, name, type_, reflected, compare_to: As Alembic gives them to ``include_object``.

    Returns:
        False for what autogenerate is to leave alone.
    """
    if type_ != "table":
        return True
    theirs = reflected and compare_to is None and name in _SAGAZ_TABLES
    return not (name in TABLES or theirs)

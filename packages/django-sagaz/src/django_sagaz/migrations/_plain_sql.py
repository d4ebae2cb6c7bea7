"""What migrations say in plain SQL: what Django has no words for, or warns of on databases that have it not."""

from typing import Any

from django.db import migrations

__all__ = ["indexed", "tuned"]

# A run's row is written a few times and then rests: its pages keep room for that, and vacuum comes early.
_QUEUE = (
    "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05, "
    "autovacuum_vacuum_cost_delay = 0"
)


def tuned(*tables: str) -> migrations.RunPython:
    """Tell PostgreSQL that these tables are a queue."""

    def tune(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            for table in tables:
                schema_editor.execute(f"ALTER TABLE {table} SET ({_QUEUE})")

    return migrations.RunPython(tune, migrations.RunPython.noop, elidable=False)


def indexed() -> migrations.RunPython:
    """Index whose a run is, and what workers may erase, for which they look every minute.

    Not indexes of the model: MySQL has no partial ones, and Django would warn of them at each migrate. There,
    Django makes none in a transaction either; elsewhere the whole migration is in one.
    """
    return migrations.RunPython(_index, migrations.RunPython.noop, atomic=False, elidable=False)


def _index(apps: Any, schema_editor: Any) -> None:
    # Last, as the model's own are made at the end: of two that would do, SQLite takes the one that was made last.
    schema_editor.deferred_sql += _statements(schema_editor.connection)


def _statements(connection: Any) -> list[str]:
    # As the engine's own tables in PostgreSQL have it, whose statements it is for.
    status = 'status COLLATE "POSIX"' if connection.vendor == "postgresql" else "status"
    owners = f"CREATE INDEX sagaz_run_owner ON sagaz_run (owner, {status}, created_at, saga_id)"
    if not connection.features.supports_partial_indexes:
        # For the erasure, the index on finished_at has to do.
        return [owners]
    erasable = (
        "CREATE INDEX sagaz_run_erasable ON sagaz_run (finished_at) WHERE finished_at IS NOT NULL "
        "AND fingerprint <> 'foreign' AND substr(fingerprint, 1, 7) <> 'erased:'"
    )
    return [f"{owners} WHERE owner IS NOT NULL", erasable]

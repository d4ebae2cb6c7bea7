"""What a role may do with the tables: asked of PostgreSQL in one statement, before it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sagaz_durable.stores.grants import READING, WRITING, grants, spell_out
from sagaz_integration_core.contract.schema import TABLES
from sagaz_integration_core.errors import StoreNotMigrated, StoreNotReady, StoreRightsMissing

__all__ = ["LACKING", "lacking_values", "what_lacks"]

Row: TypeAlias = Sequence[Any]

# Without a schema the search path decides, which leaves out what this role may not even look into. What is not there
# is told without a right; a schema that may not be used, without a table.
LACKING = """
SELECT quote_ident(current_user), quote_ident(nspname), NULL, 'USAGE'
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname = 'sagaz_meta' AND coalesce(nspname = %(schema)s::text, true)
    AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
UNION ALL
SELECT quote_ident(current_user), quote_ident(place.nspname), tables.name,
    CASE WHEN place.oid IS NOT NULL THEN wanted.name END
FROM unnest(%(tables)s::text[]) AS tables (name)
LEFT JOIN LATERAL (
    SELECT pg_class.oid, nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = tables.name AND relkind IN ('r', 'p')
        AND nspname = ANY(CASE WHEN %(schema)s::text IS NULL THEN current_schemas(false)::text[]
            ELSE ARRAY[%(schema)s::text] END)
    ORDER BY array_position(current_schemas(false)::text[], nspname::text) LIMIT 1) AS place ON true
CROSS JOIN unnest(%(rights)s::text[]) AS wanted (name)
WHERE place.oid IS NULL OR NOT has_table_privilege(place.oid, wanted.name)
"""


def lacking_values(schema: str | None, *, only_reads: bool) -> dict[str, Any]:
    """Return the values of `LACKING`."""
    return {"schema": schema, "tables": list(TABLES), "rights": list(READING if only_reads else WRITING)}


def what_lacks(subject: str, rows: Iterable[Row], *, only_reads: bool, migrate: str) -> StoreNotReady | None:
    """Return the error for the rows of `LACKING`; None when nothing lacks.

    Args:
        subject: The store, as a sentence about it begins.
        migrate: How its tables are made, as a sentence without its end.
    """
    found = list(rows)
    missing = sorted({table for _, _, table, right in found if table is not None and right is None})
    lacks = [(role, schema, table, right) for role, schema, table, right in found if None not in (table, right)]
    # Without a schema that was named, others are told of too; they matter only where something was not found.
    places = {schema for _, schema, _, _ in lacks}
    closed = [(role, schema) for role, schema, table, _ in found if table is None and (missing or schema in places)]
    if missing and not closed:
        return StoreNotMigrated(f"{subject} is not ready: there is no table {', '.join(missing)}. {migrate}.")
    if not lacks and not closed:
        return None
    role, schema = [*closed, *(row[:2] for row in lacks)][0]
    rights = [f"USAGE on schema {schema}"] if closed else []
    rights += spell_out((table, right) for _, _, table, right in lacks)
    statements = " ".join(grants(role, schema, only_reads=only_reads))
    return StoreRightsMissing(
        f"{subject} is not ready: its user {role} has not the right to {'; '.join(rights)}. As the owner of the tables "
        f"run: {statements}"
    )

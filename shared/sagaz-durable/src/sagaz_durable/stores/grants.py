"""What a database role has to be allowed: the rights on each table, as statements and in words."""

from __future__ import annotations

from collections.abc import Iterable

from sagaz_integration_core.contract.schema import TABLES

__all__ = ["READING", "WRITING", "grants", "spell_out"]

READING = ("SELECT",)
WRITING = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What a role needs on each of `TABLES`, and nothing else but USAGE on their schema; only migrating needs more."""


def grants(role: str, schema: str, *, only_reads: bool = False) -> tuple[str, str]:
    """Return the statements that give a role all that it needs, or all that one needs which only reads.

    Args:
        role, schema: As they stand in SQL, quoted if need be.
    """
    rights = ", ".join(READING if only_reads else WRITING)
    tables = ", ".join(f"{schema}.{table}" for table in TABLES)
    return f"GRANT USAGE ON SCHEMA {schema} TO {role};", f"GRANT {rights} ON {tables} TO {role};"


def spell_out(lacks: Iterable[tuple[str, str]]) -> list[str]:
    """Put pairs of table and right into words: ``INSERT, UPDATE on sagaz_run, sagaz_step``."""
    by_table: dict[str, list[str]] = {}
    for table, right in lacks:
        by_table.setdefault(table, []).append(right)
    by_rights: dict[str, list[str]] = {}
    for table, rights in by_table.items():
        by_rights.setdefault(", ".join(rights), []).append(table)
    return [f"{rights} on {', '.join(tables)}" for rights, tables in by_rights.items()]

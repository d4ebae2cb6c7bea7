"""Indexes of only some rows, where the database has such."""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["PartialIndex"]


class PartialIndex(models.Index):
    """An index of the rows that have a value in a column; on MySQL, which has no partial indexes, of all rows.

    Django's ``condition`` makes none at all there, and warns of that at each migrate. What is not in an index costs
    nothing when the row is written, which most columns' NULLs are.

    Args:
        filled: The column that has a value.
    """

    def __init__(self, *, filled: str, fields: list[str], name: str) -> None:
        super().__init__(fields=fields, name=name)
        self.filled = filled

    def deconstruct(self) -> Any:
        """Return what migrations write down."""
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "filled": self.filled}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        """Return the statement that makes the index, as this database has it."""
        is_filled = models.Q(**{f"{self.filled}__isnull": False})
        partial = schema_editor.connection.features.supports_partial_indexes
        index = models.Index(fields=self.fields, name=self.name, condition=is_filled if partial else None)
        return index.create_sql(model, schema_editor, using, **options)

"""Text that is compared character by character, on every database."""

from __future__ import annotations

from typing import Any

from django.db import models

__all__ = ["ExactCharField"]

_COLLATIONS = {"mysql": "utf8mb4_bin", "postgresql": "C"}


class ExactCharField(models.CharField):  # type: ignore[type-arg,unused-ignore]
    """A key: MySQL would take ``charge`` and ``Charge`` for the same step, and PostgreSQL sort by language."""

    def db_type(self, connection: Any) -> str | None:
        """Return a type for which Django makes no second index on PostgreSQL (for LIKE, which nobody asks).

        That is why it is in capitals. The engine's statements have texts: a limited one, which is checked before it
        comes to the database, would be cast and measured once more at each write.
        """
        if connection.vendor == "postgresql":
            return "TEXT"
        return super().db_type(connection)

    def db_parameters(self, connection: Any) -> Any:
        """Return the column's type and collation."""
        return {**super().db_parameters(connection), "collation": _COLLATIONS.get(connection.vendor)}

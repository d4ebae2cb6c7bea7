"""How many rows PostgreSQL reads for a statement."""

from __future__ import annotations

import json

__all__ = ["rows_read"]


def rows_read(cursor, statement, values=None):
    """Return how many rows the leaves of a statement's plan have read, those included that were then dropped."""
    cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", values)
    [[plan]] = cursor.fetchall()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return _leaves(plan[0]["Plan"])


def _leaves(node):
    if node.get("Plans"):
        return sum(map(_leaves, node["Plans"]))
    dropped = sum(value for key, value in node.items() if key.startswith("Rows Removed by"))
    return (node["Actual Rows"] + dropped) * node["Actual Loops"]

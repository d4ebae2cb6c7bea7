"""Looking at rows, and ending leases, from outside of the engine: in each kind of store."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from typing import Any

__all__ = ["MemoryRows", "PostgresRows", "SQLiteRows"]

PAST = datetime(2020, 1, 1, tzinfo=UTC)


class MemoryRows:
    def __init__(self, store: Any) -> None:
        self._store = store

    def look(self, owner: str, saga_id: str, step: str, phase: str) -> tuple[str | None, bool, bool]:
        """Return the status of a journal entry, whether this owner has the run's lease, and whether it rolls back."""
        runs = self._store._rows.runs
        entry, row = runs.entry(saga_id, step, phase), runs.rows[saga_id]
        return entry and entry.status, row.lease_owner == owner, row.direction == "back"

    def end_lease(self, saga_id: str) -> None:
        """Have the run's lease end, and what it waits for, and all signs of life."""
        from dataclasses import replace

        row = self._store._rows.runs.rows[saga_id]
        if row.available_at is not None:
            lease = row.lease_expires_at and PAST
            self._store._rows.runs.put(replace(row, available_at=PAST, lease_expires_at=lease))
        self._store._rows.workers.clear()

    def end_waits(self, saga_id: str) -> None:
        """Have the time of all that a run waits for be over."""
        from dataclasses import replace

        waits = self._store._rows.waits._waits
        waits[saga_id] = [
            replace(one, until=PAST) if one.outcome is None and one.until else one for one in waits.get(saga_id, [])
        ]
        row = self._store._rows.runs.rows[saga_id]
        if row.status == "waiting" and row.available_at is not None:
            self._store._rows.runs.put(replace(row, available_at=PAST))

    def end_deadline(self, saga_id: str) -> None:
        """Have the run's deadline pass."""
        from dataclasses import replace

        row = self._store._rows.runs.rows[saga_id]
        if row.deadline is not None:
            due_at = PAST if row.status == "waiting" and row.available_at is not None else row.available_at
            self._store._rows.runs.put(replace(row, deadline=PAST, available_at=due_at))

    def corrupt(self, saga_id: str, step: str, text: str) -> str | None:
        """Replace a stored result, and return what it was."""
        from dataclasses import replace

        entry = self._store._rows.runs.entry(saga_id, step, "do")
        if entry is None or entry.result is None:
            return None
        self._store._rows.runs._journals[saga_id][step, "do"] = replace(entry, result=text)
        return entry.result


class _SQLRows:
    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        raise AssertionError("each kind has its own")

    def look(self, owner: str, saga_id: str, step: str, phase: str) -> tuple[str | None, bool, bool]:
        statuses = self._execute(
            "SELECT status FROM sagaz_step WHERE saga_id = ? AND step = ? AND phase = ?", saga_id, step, phase
        )
        [run] = self._execute("SELECT lease_owner, direction FROM sagaz_run WHERE saga_id = ?", saga_id)
        return (statuses[0][0] if statuses else None), run[0] == owner, run[1] == "back"

    def end_lease(self, saga_id: str) -> None:
        past = self.past()
        self._execute(
            "UPDATE sagaz_run SET available_at = ?, "
            "lease_expires_at = CASE WHEN lease_expires_at IS NULL THEN NULL ELSE ? END "
            "WHERE saga_id = ? AND available_at IS NOT NULL",
            past, past, saga_id,
        )  # fmt: skip
        self._execute("DELETE FROM sagaz_worker")

    def end_waits(self, saga_id: str) -> None:
        past = self.past()
        self._execute(
            "UPDATE sagaz_wait SET until = ? WHERE saga_id = ? AND outcome IS NULL AND until IS NOT NULL", past, saga_id
        )
        self._make_due(saga_id)

    def end_deadline(self, saga_id: str) -> None:
        self._execute(
            "UPDATE sagaz_run SET deadline = ? WHERE saga_id = ? AND deadline IS NOT NULL", self.past(), saga_id
        )
        self._make_due(saga_id)

    def _make_due(self, saga_id: str) -> None:
        self._execute(
            "UPDATE sagaz_run SET available_at = ? "
            "WHERE saga_id = ? AND status = 'waiting' AND available_at IS NOT NULL",
            self.past(), saga_id,
        )  # fmt: skip

    def corrupt(self, saga_id: str, step: str, text: str) -> str | None:
        found = self._execute(
            "SELECT result FROM sagaz_step WHERE saga_id = ? AND step = ? AND phase = 'do'", saga_id, step
        )
        if not found or found[0][0] is None:
            return None
        self._execute(
            "UPDATE sagaz_step SET result = ? WHERE saga_id = ? AND step = ? AND phase = 'do'", text, saga_id, step
        )
        return str(found[0][0])

    def past(self) -> Any:
        return PAST


class SQLiteRows(_SQLRows):
    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        # Steps look from their threads. While one reads, another's write on this connection would be refused at once,
        # whatever the timeout: it would be based on what the first still sees.
        self._one_at_a_time = threading.Lock()

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._one_at_a_time:
            return self._connection.execute(statement, values).fetchall()

    def past(self) -> str:
        return "2020-01-01T00:00:00.000000"

    def close(self) -> None:
        self._connection.close()


class PostgresRows(_SQLRows):
    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.replace("?", "%s"), values)
        if cursor.description is None:
            return []
        import json

        return [tuple(json.dumps(v) if isinstance(v, dict) else v for v in row) for row in cursor.fetchall()]

    def corrupt(self, saga_id: str, step: str, text: str) -> str | None:
        # jsonb holds JSON only: a list where an object belongs.
        return super().corrupt(saga_id, step, "[1]" if text == "no JSON" else text)

    def close(self) -> None:
        self._connection.close()

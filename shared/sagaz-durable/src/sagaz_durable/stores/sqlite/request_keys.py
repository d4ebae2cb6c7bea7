"""The keys of requests in an SQLite store."""

from __future__ import annotations

import sqlite3
from typing import Any

from sagaz_durable.stores.sqlite.rows import after, now, stamp
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey

__all__ = [
    "ANSWER",
    "CLAIM",
    "FIND",
    "answer_key",
    "claim_key",
    "claim_values",
    "find_key",
    "find_values",
    "free_key",
    "prune_keys",
    "renew_key",
]

# Each begins with INSERT or UPDATE, for by that word sqlite3 knows that a transaction is to begin.
_HELD = "known.leased_until IS NOT NULL AND known.leased_until > excluded.created_at"
_OVER = f"known.expires_at <= excluded.created_at AND NOT ({_HELD})"
CLAIM = f"""INSERT INTO sagaz_idempotency AS known
    (id, fingerprint, saga_id, owner, leased_until, answer, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, NULL, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    fingerprint = excluded.fingerprint, owner = excluded.owner, leased_until = excluded.leased_until, answer = NULL,
    saga_id = CASE WHEN {_OVER} THEN excluded.saga_id ELSE known.saga_id END,
    created_at = CASE WHEN {_OVER} THEN excluded.created_at ELSE known.created_at END,
    expires_at = CASE WHEN {_OVER} THEN excluded.expires_at ELSE known.expires_at END
WHERE {_OVER} OR (known.answer IS NULL AND known.fingerprint = excluded.fingerprint
    AND (known.owner = excluded.owner OR NOT ({_HELD})))
RETURNING saga_id, created_at <> %s"""  # noqa: S608
FIND = """SELECT fingerprint, saga_id, answer,
    coalesce(max(0.0, (julianday(leased_until) - julianday('now')) * 86400.0), 0.0)
FROM sagaz_idempotency WHERE id = %s AND (expires_at > %s OR leased_until > %s)"""
ANSWER = """UPDATE sagaz_idempotency SET answer = %s, owner = NULL, leased_until = NULL
WHERE id = %s AND owner IS %s AND answer IS NULL
RETURNING id"""
_RENEW = "UPDATE sagaz_idempotency SET leased_until = ? WHERE id = ? AND owner = ? AND answer IS NULL"
_FREE = (
    """
    UPDATE sagaz_idempotency SET owner = NULL, leased_until = NULL
    WHERE id = ? AND owner = ? AND answer IS NULL AND saga_id IN (SELECT saga_id FROM sagaz_run)
    """,
    "DELETE FROM sagaz_idempotency WHERE id = ? AND owner = ? AND answer IS NULL",
)
_PRUNE = """
    DELETE FROM sagaz_idempotency WHERE id IN (
        SELECT id FROM sagaz_idempotency WHERE expires_at <= ? AND (leased_until IS NULL OR leased_until <= ?)
        ORDER BY expires_at LIMIT ?)
"""


def claim_values(key: NewKey) -> tuple[Any, ...]:
    """Return the parameters of `CLAIM`."""
    moment = now()
    until = None if key.owner is None else after(moment, key.lease_seconds)
    stamped, expires = stamp(moment), after(moment, key.keep_seconds)
    return key.id, key.fingerprint, key.saga_id, key.owner, until, stamped, expires, stamped


def find_values(key_id: str) -> tuple[str, str, str]:
    """Return the parameters of `FIND`."""
    return key_id, (stamped := stamp(now())), stamped


def claim_key(sqlite: sqlite3.Connection, key: NewKey) -> KeyClaim:
    """Claim a key that is new, forgotten, or left without an answer."""
    rows = sqlite.execute(CLAIM.replace("%s", "?"), claim_values(key)).fetchall()
    if rows:
        return KeyClaim(True, resumed=bool(rows[0][1]), saga_id=rows[0][0])
    return find_key(sqlite, key.id) or KeyClaim(False)


def renew_key(sqlite: sqlite3.Connection, key_id: str, owner: str, lease_seconds: float) -> bool:
    """Prolong the lease."""
    return sqlite.execute(_RENEW, (after(now(), lease_seconds), key_id, owner)).rowcount > 0


def answer_key(sqlite: sqlite3.Connection, key_id: str, owner: str | None, answer: str) -> bool:
    """Keep the answer; without an owner, of a key that this transaction holds."""
    return bool(sqlite.execute(ANSWER.replace("%s", "?"), (answer, key_id, owner)).fetchall())


def free_key(sqlite: sqlite3.Connection, key_id: str, owner: str) -> bool:
    """Forget a key that has no answer, or let somebody else have it if its run is there."""
    return any(sqlite.execute(statement, (key_id, owner)).rowcount > 0 for statement in _FREE)


def find_key(sqlite: sqlite3.Connection, key_id: str) -> KeyClaim | None:
    """Return what is known of a key."""
    row = sqlite.execute(FIND.replace("%s", "?"), find_values(key_id)).fetchone()
    return None if row is None else KeyClaim(False, False, *row)


def prune_keys(sqlite: sqlite3.Connection, limit: int) -> int:
    """Delete keys whose time is over; return how many."""
    stamped = stamp(now())
    return sqlite.execute(_PRUNE, (stamped, stamped, limit)).rowcount

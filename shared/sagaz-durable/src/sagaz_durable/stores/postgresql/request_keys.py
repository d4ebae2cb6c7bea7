"""The keys of requests in a PostgreSQL store."""

from __future__ import annotations

from typing import Any

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey

__all__ = [
    "ANSWER",
    "CLAIM",
    "FIND",
    "answer_key",
    "claim_key",
    "claim_values",
    "find_key",
    "free_key",
    "prune_keys",
    "renew_key",
]

# A key that another transaction has inserted, and not committed, would be waited for as long as that takes. Whoever
# inserts one holds this lock until then, and who does not get it inserts nothing.
_LOCK = "pg_try_advisory_xact_lock(hashtextextended(%s::text, 7022041985551340))"
_HELD = "known.leased_until IS NOT NULL AND known.leased_until > excluded.created_at"
_OVER = f"known.expires_at <= excluded.created_at AND NOT ({_HELD})"
CLAIM = f"""
INSERT INTO {{schema}}.sagaz_idempotency AS known
    (id, fingerprint, saga_id, owner, leased_until, answer, created_at, expires_at)
SELECT %s::text, %s::text, %s::text, %s::text, statement_timestamp() + %s::text::interval, NULL, statement_timestamp(),
    statement_timestamp() + %s::text::interval
WHERE {_LOCK}
ON CONFLICT (id) DO UPDATE SET
    fingerprint = excluded.fingerprint, owner = excluded.owner, leased_until = excluded.leased_until, answer = NULL,
    saga_id = CASE WHEN {_OVER} THEN excluded.saga_id ELSE known.saga_id END,
    created_at = CASE WHEN {_OVER} THEN excluded.created_at ELSE known.created_at END,
    expires_at = CASE WHEN {_OVER} THEN excluded.expires_at ELSE known.expires_at END
WHERE {_OVER} OR (known.answer IS NULL AND known.fingerprint = excluded.fingerprint
    AND (known.owner = excluded.owner OR NOT ({_HELD})))
RETURNING saga_id, created_at <> statement_timestamp()
"""
FIND = """
SELECT fingerprint, saga_id, answer,
    GREATEST(0, COALESCE(EXTRACT(EPOCH FROM leased_until - statement_timestamp()), 0))::float8
FROM {schema}.sagaz_idempotency
WHERE id = %s::text AND (expires_at > statement_timestamp() OR leased_until > statement_timestamp())
"""
ANSWER = """
UPDATE {schema}.sagaz_idempotency SET answer = %s::text, owner = NULL, leased_until = NULL
WHERE id = %s::text AND owner IS NOT DISTINCT FROM %s::text AND answer IS NULL
RETURNING id
"""
_RENEW = """
UPDATE {schema}.sagaz_idempotency SET leased_until = statement_timestamp() + %s::text::interval
WHERE id = %s::text AND owner = %s::text AND answer IS NULL
RETURNING id
"""
_FREE = """
WITH kept AS (
    UPDATE {schema}.sagaz_idempotency SET owner = NULL, leased_until = NULL
    WHERE id = %(id)s AND owner = %(owner)s AND answer IS NULL
        AND EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = sagaz_idempotency.saga_id)
    RETURNING id
), gone AS (
    DELETE FROM {schema}.sagaz_idempotency
    WHERE id = %(id)s AND owner = %(owner)s AND answer IS NULL
        AND NOT EXISTS (SELECT FROM {schema}.sagaz_run AS run WHERE run.saga_id = sagaz_idempotency.saga_id)
    RETURNING id
)
SELECT id FROM kept UNION ALL SELECT id FROM gone
"""
_PRUNE = """
WITH old AS MATERIALIZED (
    SELECT ARRAY(SELECT id FROM {schema}.sagaz_idempotency
        WHERE expires_at <= statement_timestamp() AND (leased_until IS NULL OR leased_until <= statement_timestamp())
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS ids
), gone AS (
    DELETE FROM {schema}.sagaz_idempotency WHERE id = ANY((SELECT ids FROM old)::text[]) RETURNING id
)
SELECT count(*) FROM gone
"""


def claim_values(key: NewKey) -> tuple[Any, ...]:
    """Return the values of `CLAIM`, all of them texts, for any driver."""
    lease = None if key.owner is None else _seconds(key.lease_seconds)
    return key.id, key.fingerprint, key.saga_id, key.owner, lease, _seconds(key.keep_seconds), key.id


async def claim_key(db: Database, key: NewKey) -> KeyClaim:
    """Claim a key that is new, forgotten, or left without an answer."""
    if rows := await db.fetch(CLAIM, claim_values(key)):
        return KeyClaim(True, resumed=rows[0][1], saga_id=rows[0][0])
    return await find_key(db, key.id) or KeyClaim(False)


async def renew_key(db: Database, key_id: str, owner: str, lease_seconds: float) -> bool:
    """Prolong the lease."""
    return bool(await db.fetch(_RENEW, (_seconds(lease_seconds), key_id, owner)))


async def answer_key(db: Database, key_id: str, owner: str, answer: str) -> bool:
    """Keep the answer."""
    return bool(await db.fetch(ANSWER, (answer, key_id, owner)))


async def free_key(db: Database, key_id: str, owner: str) -> bool:
    """Forget a key that has no answer, or let somebody else have it if its run is there."""
    return bool(await db.fetch(_FREE, {"id": key_id, "owner": owner}))


async def find_key(db: Database, key_id: str) -> KeyClaim | None:
    """Return what is known of a key."""
    rows = await db.fetch(FIND, (key_id,))
    return KeyClaim(False, False, *rows[0]) if rows else None


async def prune_keys(db: Database, limit: int) -> int:
    """Delete keys whose time is over; return how many."""
    [(count,)] = await db.fetch(_PRUNE, {"limit": limit})
    return int(count)


def _seconds(seconds: float) -> str:
    return f"{seconds:.6f} seconds"

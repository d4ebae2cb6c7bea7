"""Events whose runs start when the limits of their trigger allow it; `stores.delayed_starts` in SQL."""

from __future__ import annotations

from sagaz_durable.stores.postgresql.database.statements import Database
from sagaz_integration_core.contract.webhooks import DELAYED_UNTIL, StartLimit

__all__ = ["count_delayed", "start_delayed"]

_TRIES = 5
"""If others were faster each time, they have started what there was room for, or soon somebody does."""

_COUNT = "SELECT count(*) FROM {schema}.sagaz_webhook WHERE outcome = 'delayed'"

_OF_TRIGGER = """EXISTS (SELECT FROM {schema}.sagaz_webhook AS event
            WHERE event.saga_id = run.saga_id AND event.handler = %(handler)s AND event.outcome = 'started')"""

# Nobody's lock is waited for and then counted, which would take two statements: what is counted is what this statement
# sees, and it starts something only if nobody has started anything since it began to look. For this each start changes
# one row, which shows that: it is compared with what was seen as it is when it is changed.
_START = f"""
WITH seen AS MATERIALIZED (
    SELECT (SELECT value FROM {{schema}}.sagaz_meta WHERE key = 'delayed_starts') AS value
), room AS MATERIALIZED (
    SELECT CASE WHEN narrowest IS NOT NULL THEN greatest(0, narrowest) END AS n FROM (SELECT least(
        %(max_concurrent)s::bigint - (
            SELECT count(*) FROM {{schema}}.sagaz_run AS run
            WHERE status IN ('pending', 'executing', 'compensating', 'waiting') AND saga_name = %(saga_name)s
                AND {_OF_TRIGGER}),
        %(starts)s::bigint - (
            SELECT count(*) FROM {{schema}}.sagaz_run AS run
            WHERE created_at > statement_timestamp() - %(seconds)s::double precision * interval '1 second'
                AND saga_name = %(saga_name)s AND {_OF_TRIGGER})) AS narrowest) AS least
), chosen AS MATERIALIZED (
    SELECT saga_id FROM {{schema}}.sagaz_webhook WHERE outcome = 'delayed' AND handler = %(handler)s
    GROUP BY saga_id ORDER BY min(received_at), saga_id LIMIT (SELECT n FROM room)
), first AS (
    INSERT INTO {{schema}}.sagaz_meta AS meta (key, value)
    SELECT 'delayed_starts', (coalesce(value, '0')::bigint + 1)::text FROM seen WHERE EXISTS (SELECT FROM chosen)
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value WHERE meta.value = (SELECT value FROM seen)
    RETURNING key
), made AS (
    UPDATE {{schema}}.sagaz_run SET available_at = statement_timestamp(), created_at = statement_timestamp(),
        updated_at = statement_timestamp(), version = version + 1,
        deadline = CASE WHEN deadline < %(delayed)s::timestamptz THEN deadline
            ELSE statement_timestamp() + (deadline - %(delayed)s::timestamptz) END
    WHERE saga_id IN (SELECT saga_id FROM chosen) AND EXISTS (SELECT FROM first)
        AND status = 'pending' AND available_at = %(delayed)s::timestamptz
    RETURNING {{wake}} AS woken
), told AS (
    UPDATE {{schema}}.sagaz_webhook SET outcome = 'started'
    WHERE saga_id IN (SELECT saga_id FROM chosen) AND EXISTS (SELECT FROM first) AND outcome = 'delayed'
    RETURNING saga_id
)
SELECT count(DISTINCT saga_id), EXISTS (SELECT FROM chosen) AND NOT EXISTS (SELECT FROM first),
    (SELECT count(woken::text) FROM made)
FROM told
"""  # noqa: S608


async def start_delayed(db: Database, limit: StartLimit) -> int:
    """Start the runs of a trigger's delayed events as far as there is room; return how many."""
    values = {
        "handler": limit.handler,
        "saga_name": limit.saga_name,
        "max_concurrent": limit.max_concurrent,
        "starts": limit.starts,
        "seconds": limit.seconds,
        "delayed": DELAYED_UNTIL,
    }
    for _ in range(_TRIES):
        [(started, was_late, _)] = await db.fetch(_START, values)
        if not was_late:
            return int(started)
    return 0


async def count_delayed(db: Database) -> int:
    """Return how many events are delayed."""
    [(count,)] = await db.fetch(_COUNT)
    return int(count)

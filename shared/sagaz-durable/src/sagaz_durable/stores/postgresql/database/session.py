"""What a session of our own is set to when it is opened; one that a pooler lends is left as it was."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

__all__ = ["OWN_SESSION", "PREPARE_THRESHOLD", "make_own", "reads_committed"]

PREPARE_THRESHOLD = 5
"""How often a connection executes a statement before it is prepared there."""

# A queue's size is another one every second, so plans made by its statistics, and kept, go wrong: empty tables are
# read whole, and are still when they have a million rows. All our statements have their index, whatever their values:
# planning each anew, which PostgreSQL does where its estimates favour that, would cost more than executing it.
# They are written for READ COMMITTED, whatever the role's or the database's default is, and our connections idle by
# their nature. Behind a pooler the client is told the pooler's number and not the server's: other applications get that
# session next, so that nothing is set there.
OWN_SESSION = """
SELECT set_config(name, value, false)
FROM (VALUES ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'),
    ('plan_cache_mode', 'force_generic_plan'), ('default_transaction_isolation', 'read committed'),
    ('default_transaction_deferrable', 'off'), ('idle_session_timeout', '0')) AS wanted (name, value)
WHERE pg_backend_pid() = %s AND current_setting(name, true) IS NOT NULL
"""


async def make_own(connection: AsyncConnection[Any], *, pooled: bool = False) -> bool:
    """Set a session up and return True; behind a pooler leave it as it is, prepare nothing, and return False.

    Args:
        pooled: That there is a pooler is known already.
    """
    if not pooled and await (await connection.execute(OWN_SESSION, [connection.info.backend_pid])).fetchall():
        return True
    connection.prepare_threshold = None
    return False


async def reads_committed(connection: AsyncConnection[Any]) -> bool:
    """Whether statements outside of a transaction are executed as READ COMMITTED."""
    row = await (await connection.execute("SHOW default_transaction_isolation")).fetchone()
    return row is not None and row[0] == "read committed"

"""The migrations of a PostgreSQL store, in order; what was released is never changed, only followed by another one."""

from __future__ import annotations

from sagaz_integration_core.contract.record import record

__all__ = ["MIGRATIONS", "Migration"]


@record
class Migration:
    """One step from a version of the tables to the next; all of them run in one transaction.

    Attributes:
        version: Of the tables, afterwards.
        compatible: The oldest version of the tables that a release may know and still use these: a rolling deployment
            migrates first, and then replaces its processes one after the other.
    """

    version: int
    name: str
    compatible: int
    statements: tuple[str, ...]


# A run's row is written a few times and then rests. Its due time is indexed and changes with every lease, so that only
# journal entries can be updated in place (HOT); both tables leave room in their pages for the next version of a row.
# Rows die fast here, and an index that leads through dead ones is slow: vacuum comes early and does not dawdle.
_QUEUE = (
    "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05, "
    "autovacuum_vacuum_cost_delay = 0"
)

# saga_id is compared as bytes, whatever the database's language: it is cheaper, and the order the same everywhere.
# There are no foreign keys: each insert of a journal entry would lock and check a row that its writer has locked.
_CREATE = (
    """
    CREATE TABLE {schema}.sagaz_meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL)
    """,
    f"""
    CREATE TABLE {{schema}}.sagaz_run (
        saga_id text COLLATE "C" PRIMARY KEY,
        saga_name text COLLATE "C" NOT NULL,
        status text COLLATE "C" NOT NULL,
        context jsonb NOT NULL,
        error text,
        correlation_id text,
        attempt integer NOT NULL,
        failures integer NOT NULL,
        lease_owner text,
        lease_expires_at timestamptz,
        available_at timestamptz,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        finished_at timestamptz,
        fingerprint text NOT NULL,
        direction text COLLATE "C" NOT NULL DEFAULT 'forward',
        version integer NOT NULL DEFAULT 1,
        leased_at timestamptz,
        suspicions integer NOT NULL DEFAULT 0,
        alone boolean NOT NULL DEFAULT false,
        deadline timestamptz,
        owner text COLLATE "C"
    ) WITH ({_QUEUE})
    """,
    # available_at is when a run may be claimed: for a leased one the end of its lease, NULL for never (again).
    """
    CREATE INDEX sagaz_run_due ON {schema}.sagaz_run (saga_name, alone, available_at) WHERE available_at IS NOT NULL
    """,
    "CREATE INDEX sagaz_run_status ON {schema}.sagaz_run (status, created_at, saga_id)",
    "CREATE INDEX sagaz_run_correlation ON {schema}.sagaz_run (correlation_id) WHERE correlation_id IS NOT NULL",
    """
    CREATE INDEX sagaz_run_deadline ON {schema}.sagaz_run (deadline)
    WHERE deadline IS NOT NULL AND finished_at IS NULL
    """,
    # Of another collation, which sorts alike: a query that names it is not planned with the index on status alone.
    """
    CREATE INDEX sagaz_run_owner ON {schema}.sagaz_run (owner, status COLLATE "POSIX", created_at, saga_id)
    WHERE owner IS NOT NULL
    """,
    "CREATE INDEX sagaz_run_finished ON {schema}.sagaz_run (finished_at) WHERE finished_at IS NOT NULL",
    # Workers look for these every minute: what was erased is not in it.
    """
    CREATE INDEX sagaz_run_erasable ON {schema}.sagaz_run (finished_at)
    WHERE finished_at IS NOT NULL AND fingerprint <> 'foreign' AND left(fingerprint, 7) <> 'erased:'
    """,
    f"""
    CREATE TABLE {{schema}}.sagaz_step (
        saga_id text COLLATE "C" NOT NULL,
        step text COLLATE "C" NOT NULL,
        phase text COLLATE "C" NOT NULL,
        status text NOT NULL,
        result jsonb,
        error text,
        attempt integer NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        compensated boolean NOT NULL DEFAULT false,
        PRIMARY KEY (saga_id, step, phase)
    ) WITH ({_QUEUE})
    """,
    """
    CREATE TABLE {schema}.sagaz_attempt (
        saga_id text COLLATE "C" NOT NULL,
        attempt integer NOT NULL,
        owner text COLLATE "C" NOT NULL,
        began_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL,
        outcome text COLLATE "C" NOT NULL,
        detail text,
        under_way text,
        PRIMARY KEY (saga_id, attempt)
    )
    """,
    "CREATE INDEX sagaz_attempt_owner ON {schema}.sagaz_attempt (owner)",
    """
    CREATE TABLE {schema}.sagaz_worker (
        name text COLLATE "C" PRIMARY KEY,
        kind text COLLATE "C" NOT NULL,
        sagas jsonb NOT NULL,
        alive_until timestamptz NOT NULL
    )
    """,
    f"""
    CREATE TABLE {{schema}}.sagaz_outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id text COLLATE "C" NOT NULL UNIQUE,
        saga_id text COLLATE "C" NOT NULL,
        topic text NOT NULL,
        payload jsonb NOT NULL,
        headers jsonb NOT NULL,
        status text COLLATE "C" NOT NULL,
        attempts integer NOT NULL,
        error text,
        available_at timestamptz,
        created_at timestamptz NOT NULL,
        sent_at timestamptz
    ) WITH ({_QUEUE})
    """,
    """
    CREATE TABLE {schema}.sagaz_audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        saga_id text COLLATE "C" NOT NULL,
        action text NOT NULL,
        actor text NOT NULL,
        reason text NOT NULL,
        found text NOT NULL,
        status text NOT NULL,
        at timestamptz NOT NULL
    )
    """,
    # Only open waits have a key: at most one at a time has it.
    f"""
    CREATE TABLE {{schema}}.sagaz_wait (
        saga_id text COLLATE "C" NOT NULL,
        step text COLLATE "C" NOT NULL,
        phase text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        n integer NOT NULL,
        key text COLLATE "C",
        until timestamptz,
        created_at timestamptz NOT NULL,
        outcome text COLLATE "C",
        attempt integer,
        payload jsonb,
        PRIMARY KEY (saga_id, step, phase, name, n)
    ) WITH ({_QUEUE})
    """,
    "CREATE UNIQUE INDEX sagaz_wait_key ON {schema}.sagaz_wait (name, key) WHERE key IS NOT NULL",
    f"""
    CREATE TABLE {{schema}}.sagaz_signal (
        id text COLLATE "C" PRIMARY KEY,
        name text COLLATE "C" NOT NULL,
        saga_id text COLLATE "C",
        key text COLLATE "C",
        signal_id text NOT NULL,
        payload jsonb,
        fingerprint text NOT NULL,
        created_at timestamptz NOT NULL,
        taken_at timestamptz,
        taken_by text COLLATE "C",
        taken_step text COLLATE "C",
        taken_phase text COLLATE "C",
        seen_at timestamptz
    ) WITH ({_QUEUE})
    """,
    "CREATE INDEX sagaz_signal_fresh ON {schema}.sagaz_signal (seen_at) WHERE taken_at IS NULL",
    "CREATE INDEX sagaz_signal_run ON {schema}.sagaz_signal (saga_id, name) "
    "WHERE taken_at IS NULL AND saga_id IS NOT NULL",
    "CREATE INDEX sagaz_signal_key ON {schema}.sagaz_signal (key, name) WHERE taken_at IS NULL AND key IS NOT NULL",
    "CREATE INDEX sagaz_signal_created ON {schema}.sagaz_signal (created_at, id)",
    "CREATE INDEX sagaz_signal_taken ON {schema}.sagaz_signal (taken_at) WHERE taken_at IS NOT NULL",
    "CREATE INDEX sagaz_signal_taken_by ON {schema}.sagaz_signal (taken_by) WHERE taken_at IS NOT NULL",
    f"""
    CREATE TABLE {{schema}}.sagaz_idempotency (
        id text COLLATE "C" PRIMARY KEY,
        fingerprint text COLLATE "C" NOT NULL,
        saga_id text COLLATE "C",
        owner text COLLATE "C",
        leased_until timestamptz,
        answer text COLLATE "C",
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL
    ) WITH ({_QUEUE})
    """,
    "CREATE INDEX sagaz_idempotency_expires ON {schema}.sagaz_idempotency (expires_at)",
    "CREATE INDEX sagaz_idempotency_saga ON {schema}.sagaz_idempotency (saga_id) WHERE saga_id IS NOT NULL",
    f"""
    CREATE TABLE {{schema}}.sagaz_webhook (
        id text COLLATE "C" PRIMARY KEY,
        source text COLLATE "C" NOT NULL,
        delivery_id text COLLATE "C" NOT NULL,
        handler text COLLATE "C" NOT NULL,
        event_type text,
        received_at timestamptz NOT NULL,
        outcome text COLLATE "C" NOT NULL,
        reason text,
        saga_id text COLLATE "C",
        signal text COLLATE "C",
        key text COLLATE "C",
        fingerprint text COLLATE "C" NOT NULL,
        body text,
        correlation_id text
    ) WITH ({_QUEUE})
    """,
    "CREATE INDEX sagaz_webhook_delivery ON {schema}.sagaz_webhook (source, delivery_id)",
    "CREATE INDEX sagaz_webhook_signal ON {schema}.sagaz_webhook (delivery_id, signal) WHERE signal IS NOT NULL",
    "CREATE INDEX sagaz_webhook_saga ON {schema}.sagaz_webhook (saga_id) WHERE saga_id IS NOT NULL",
    "CREATE INDEX sagaz_webhook_received ON {schema}.sagaz_webhook (received_at, id)",
    "CREATE INDEX sagaz_webhook_quarantined ON {schema}.sagaz_webhook (id) WHERE outcome = 'quarantined'",
    """
    CREATE INDEX sagaz_webhook_delayed ON {schema}.sagaz_webhook (handler, received_at, id) WHERE outcome = 'delayed'
    """,
    "CREATE INDEX sagaz_audit_saga ON {schema}.sagaz_audit (saga_id, id)",
    "CREATE INDEX sagaz_outbox_due ON {schema}.sagaz_outbox (available_at, id) WHERE status = 'pending'",
    "CREATE INDEX sagaz_outbox_saga ON {schema}.sagaz_outbox (saga_id, status, id)",
    "CREATE INDEX sagaz_outbox_dead ON {schema}.sagaz_outbox (id) WHERE status = 'dead'",
    "CREATE INDEX sagaz_outbox_sent ON {schema}.sagaz_outbox (sent_at) WHERE sent_at IS NOT NULL",
)

MIGRATIONS = (Migration(1, "0001_initial", 1, _CREATE),)

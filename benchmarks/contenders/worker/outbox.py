"""sagaz's own ``OutboxWorker`` on its PostgreSQL outbox: the only worker that sagaz itself has."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from sagaz.core.storage.backends.postgresql import PostgreSQLOutboxStorage

from benchmarks.contenders.worker._workers import Fleet, measure
from benchmarks.harness.model import Measure, Place

_INSERT = """
INSERT INTO saga_outbox (event_id, saga_id, aggregate_id, event_type, payload)
SELECT gen_random_uuid(), n::text, n::text, 'noop', jsonb_build_object('n', n) FROM unnest(%s::integer[]) AS n
"""


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure it."""
    asyncio.run(_make_tables(place.postgres))
    with psycopg.connect(place.postgres, autocommit=True) as connection:

        def enqueue(runs: Iterable[int]) -> None:
            connection.execute(_INSERT, [list(runs)])

        def check(runs: int) -> None:
            sent = connection.execute("SELECT count(*) FROM saga_outbox WHERE status = 'sent'").fetchone()
            if sent != (runs,):
                raise RuntimeError(f"{runs} events were to be sent, and {sent} are.")

        def reset() -> None:
            connection.execute("TRUNCATE saga_outbox")

        environment = {
            "BENCH_POSTGRES": place.postgres,
            "BENCH_POLL": str(place.options["poll"]),
            "LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-m", "benchmarks.programs.outbox_worker"]
        yield measure(place, Fleet(command, enqueue, environment, check, reset))


async def _make_tables(url: str) -> None:
    storage = PostgreSQLOutboxStorage(url)
    await storage.initialize()
    await storage.close()

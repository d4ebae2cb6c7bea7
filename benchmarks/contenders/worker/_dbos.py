"""What enqueues DBOS workflows from outside of their application, many in one transaction."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy
from dbos import DBOSClient

__all__ = ["Enqueuer", "address", "migrate"]


def address(url: str) -> str:
    """Return the URL as SQLAlchemy takes it."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def migrate(url: str) -> None:
    """Make DBOS's tables."""
    from dbos import run_dbos_database_migrations

    run_dbos_database_migrations(system_database_url=address(url))


class Enqueuer:
    """A client of the application in ``benchmarks.programs.dbos_worker``."""

    def __init__(self, url: str) -> None:
        self.engine = sqlalchemy.create_engine(address(url))
        self._client = DBOSClient(system_database_url=address(url), application_name="benchmark")

    def enqueue(self, runs: Iterable[int]) -> None:
        """Enqueue workflows in one transaction."""
        with self.engine.begin() as connection:
            for n in runs:
                self.enqueue_in(connection, n)

    def enqueue_in(self, connection: sqlalchemy.Connection, n: int) -> None:
        """Enqueue a workflow in a caller's transaction."""
        self._client.enqueue_in_transaction(connection, {"workflow_name": "noop", "queue_name": "benchmark"}, n)

    def close(self) -> None:
        """Disconnect."""
        self._client.destroy()
        self.engine.dispose()

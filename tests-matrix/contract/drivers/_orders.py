"""The application's own table, through SQLAlchemy, for drivers whose framework brings no database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Orders"]


class Orders:
    """A table beside the saga tables, and transactions in it; nothing is imported or opened before it is used."""

    def __init__(self, storage_url: str) -> None:
        self._url = storage_url
        self._engine: Any = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """The application's own lifespan, inside the plugin's."""
        yield
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def _opened(self) -> Any:
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        # The first requests may come together: none has an engine before the table is there.
        async with self._opening:
            if self._engine is None:
                url = self._url.replace("sqlite://", "sqlite+aiosqlite://").replace(
                    "postgresql://", "postgresql+psycopg://"
                )
                engine = create_async_engine(url)
                _begin_properly(engine)
                async with engine.begin() as connection:
                    await connection.execute(text("CREATE TABLE IF NOT EXISTS shop_order (id TEXT PRIMARY KEY)"))
                self._engine = engine
        return self._engine

    @asynccontextmanager
    async def transaction(self, then: str) -> AsyncIterator[Any]:
        """A session whose transaction ends as ``then`` says: commit, rollback, or a savepoint that is rolled back."""
        from sqlalchemy.ext.asyncio import AsyncSession

        async with AsyncSession(await self._opened()) as session:
            savepoint = await session.begin_nested() if then == "savepoint" else None
            yield session
            if savepoint is not None:
                await savepoint.rollback()
            await (session.rollback() if then == "rollback" else session.commit())

    async def session(self) -> AsyncIterator[Any]:
        """Yield a session that whoever uses it commits: a dependency."""
        from sqlalchemy.ext.asyncio import AsyncSession

        async with AsyncSession(await self._opened()) as session:
            yield session

    async def add(self, session: Any, id_: str) -> None:
        from sqlalchemy import text

        await session.execute(text("INSERT INTO shop_order (id) VALUES (:id)"), {"id": id_})

    async def ids(self) -> list[str]:
        from sqlalchemy import text

        async with (await self._opened()).connect() as connection:
            return list((await connection.execute(text("SELECT id FROM shop_order"))).scalars())


def _begin_properly(engine: Any) -> None:
    """SQLAlchemy's own recipe against pysqlite's legacy BEGIN, which keeps rows of a rolled back savepoint."""
    from sqlalchemy import event

    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

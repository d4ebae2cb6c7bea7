"""The port of a PostgreSQL store: what executes its statements, a pool of its own or a framework's connections."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sagaz_durable.stores.postgresql.database.errors import ConnectionLost

__all__ = ["Database", "Row", "Values"]

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Sequence[Any] | Mapping[str, Any]


class Database(ABC):
    """Executes the statements of a `PostgresStore`, each its own transaction.

    A subclass says how one is executed, and what is opened and closed for that. Whatever is asked raises
    `StoreUnavailable` when the server cannot be used, and nothing else for that reason; `UnstorableValue` and
    `WriteRefused` as `SagaStore` has it.
    """

    kind: str
    """What the store is in messages and listings: ``postgres``, or ``django``."""

    shown: str | None
    """The address without its password, if callers' own connections to it can take part in a start; None where they are
    these very ones."""

    _names: Mapping[str, str]
    """What stands for ``{schema}``, ``{wake}`` and ``{wake_for_signal}``."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        self._users = 0
        self._unused = asyncio.Event()

    @abstractmethod
    async def open(self) -> None:
        """Connect, and find the tables; harmless when already open.

        Raises:
            StoreNotReady: Tables or rights are missing.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was asked for, and disconnect; harmless when already closed."""

    @abstractmethod
    def check_process(self) -> None:
        """Refuse the use of what is not open in this process, whoever asks.

        Raises:
            StoreUnavailable: Saying which it is.
        """

    @abstractmethod
    def check(self) -> None:
        """Refuse the use of what is not open in this process and on this event loop.

        Raises:
            StoreUnavailable: Saying which it is.
        """

    @abstractmethod
    async def check_ready(self, *, only_reads: bool) -> None:
        """Ask whether tables and rights are there; with ``only_reads``, all that reading needs.

        Raises:
            StoreNotReady: Naming what lacks.
        """

    @abstractmethod
    async def store_id(self) -> str:
        """Return the random id that was made with the tables."""

    def fill_in(self, template: str) -> str:
        """Replace what a statement has in braces."""
        for name, value in self._names.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    @abstractmethod
    async def execute_once(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement and return its rows.

        Raises:
            ConnectionLost: Whether it was committed is not known.
            StoreUnavailable: It was not committed.
        """

    @abstractmethod
    async def mend(self) -> None:
        """Replace the connections that are dead."""

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Check that the store is open, and keep it open for as many statements as are executed inside."""
        self.check()
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    def text(self, template: str) -> str:
        """Return a statement as it is executed."""
        statement = self._statements.get(template)
        if statement is None:
            statement = self._statements[template] = self.fill_in(template)
        return statement

    async def fetch(self, template: str, values: Values = ()) -> list[Row]:
        """Check that the store is open, and `execute`."""
        with self.in_use():
            return await self.execute(template, values)

    async def execute(self, template: str, values: Values = ()) -> list[Row]:
        """Execute a statement that may be executed twice, and return its rows.

        A connection that was found dead is replaced and the statement tried once more, whether or not the first try
        was committed: what cannot bear that uses `execute_once`.

        Raises:
            StoreUnavailable: The server cannot be reached, or refuses.
        """
        try:
            return await self.execute_once(template, values)
        except ConnectionLost:
            await self.mend()
            return await self.execute_once(template, values)

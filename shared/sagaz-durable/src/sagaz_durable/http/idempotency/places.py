"""Where keys are kept while their requests are executed: in the store under a lease, or in a transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol

from sagaz_durable.concurrency.cancellation import cancel_all
from sagaz_durable.transactions.request_keys import join_answer, join_answer_sync, join_key, join_key_sync
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey
from sagaz_integration_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope
    from sagaz_integration_core.contract.records import RunStatus

__all__ = ["BlockingTransaction", "KeyPlace", "Leases", "Transaction", "is_locked", "sleep"]

logger = logging.getLogger(__name__)


class KeyPlace(Protocol):
    """What is done about a key, wherever it is; in synchronous code, nothing of it waits for an event loop."""

    async def claim(self, key: NewKey) -> KeyClaim:
        """Claim a key."""
        ...

    async def answer(self, key: NewKey, answer: str) -> bool:
        """Keep the answer; False when the key is somebody else's by now, or was given back."""
        ...

    async def free(self, key: NewKey) -> None:
        """Give a key back without an answer, with what its request has written, if that is in the same transaction."""
        ...

    async def commit(self) -> None:
        """Commit what the request has written, if that is not the endpoint's to do."""
        ...

    async def status(self, saga_id: str) -> RunStatus | None:
        """Return the status of a run that was committed; None if there is none."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...


class Leases:
    """Keys in the store, each claimed under a lease that is renewed until the request has been answered.

    Args:
        scope: What the application's store is asked through.
        pause: How the request's own thread or task waits.
    """

    def __init__(self, scope: ReachableScope, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._scope = scope
        self._pause = pause
        self._renewal: asyncio.Task[None] | None = None

    async def claim(self, key: NewKey) -> KeyClaim:
        """Claim a key, and keep it."""

        async def claim() -> KeyClaim:
            claim = await self._scope.store.claim_key(key)
            if claim.claimed:
                self._renewal = asyncio.create_task(self._renew(key))
            return claim

        return await self._scope.reach(claim)

    async def answer(self, key: NewKey, answer: str) -> bool:
        """Keep the answer."""
        return await self._ended(lambda: self._scope.store.answer_key(key.id, str(key.owner), answer))

    async def free(self, key: NewKey) -> None:
        """Give the key back; if the store does not answer, the lease ends by itself."""
        try:
            await self._ended(lambda: self._scope.store.free_key(key.id, str(key.owner)))
        except StoreUnavailable as error:
            logger.warning("The idempotency key of a request that failed is taken until its lease ends: %s", error)

    async def commit(self) -> None:
        """The endpoint has done it."""

    async def status(self, saga_id: str) -> RunStatus | None:
        """Return the status of a run."""
        return (await self._scope.reach(lambda: self._scope.store.statuses([saga_id]))).get(saga_id)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await self._pause(seconds)

    async def _ended(self, work: Callable[[], Awaitable[bool]]) -> bool:
        async def end() -> bool:
            if (renewal := self._renewal) is not None:
                self._renewal = None
                await cancel_all([renewal])
            return await work()

        return await self._scope.reach(end)

    async def _renew(self, key: NewKey) -> None:
        while True:
            await asyncio.sleep(key.lease_seconds / 3)
            try:
                if not await self._scope.store.renew_key(key.id, str(key.owner), key.lease_seconds):
                    return
            except StoreUnavailable as error:
                logger.debug("The lease of an idempotency key was not renewed: %s", error)


class Transaction:
    """Keys in the transaction of an asynchronous session, which is committed with the answer.

    Args:
        session: An AsyncSession or an asynchronous connection.
    """

    def __init__(self, scope: ReachableScope, session: Any) -> None:
        self._scope = scope
        self._session = session

    async def claim(self, key: NewKey) -> KeyClaim:
        """Claim a key; an SQLite file that is locked is as if somebody had it."""
        try:
            return await join_key(self._session, self._scope.store, key)
        except Exception as error:
            if not is_locked(error):
                raise
            # It has written nothing: it would have the lock. What it has read may be too old to write after.
            await self.free(key)
            return KeyClaim(False)

    async def answer(self, key: NewKey, answer: str) -> bool:
        """Keep the answer."""
        return await join_answer(self._session, self._scope.store, key.id, answer)

    async def free(self, key: NewKey) -> None:
        """Roll back."""
        await self._session.rollback()

    async def commit(self) -> None:
        """Commit."""
        await self._session.commit()

    async def status(self, saga_id: str) -> RunStatus | None:
        """Return the status of a run."""
        return (await self._scope.reach(lambda: self._scope.store.statuses([saga_id]))).get(saga_id)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class BlockingTransaction(Transaction):
    """Keys in the transaction of a synchronous session.

    Args:
        away: Does a call somewhere else than on the event loop; by default here, where there is none.
        pause: How the request's own thread or task waits.
    """

    def __init__(
        self,
        scope: ReachableScope,
        session: Any,
        away: Callable[[Callable[[], Any]], Any] = lambda call: call(),
        pause: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(scope, session)
        self._away = away
        self._pause = pause or sleep

    async def claim(self, key: NewKey) -> KeyClaim:
        """Claim a key; an SQLite file that is locked is as if somebody had it."""
        try:
            claim: KeyClaim = await self._call(lambda: join_key_sync(self._session, self._scope.store, key))
        except Exception as error:
            if not is_locked(error):
                raise
            # It has written nothing: it would have the lock. What it has read may be too old to write after.
            await self.free(key)
            return KeyClaim(False)
        return claim

    async def answer(self, key: NewKey, answer: str) -> bool:
        """Keep the answer."""
        return bool(await self._call(lambda: join_answer_sync(self._session, self._scope.store, key.id, answer)))

    async def free(self, key: NewKey) -> None:
        """Roll back."""
        await self._call(self._session.rollback)

    async def commit(self) -> None:
        """Commit."""
        await self._call(self._session.commit)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await self._pause(seconds)

    async def _call(self, call: Callable[[], Any]) -> Any:
        done = self._away(call)
        return await done if isawaitable(done) else done


async def sleep(seconds: float) -> None:
    """Have the thread wait, in synchronous code."""
    time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop


def is_locked(error: BaseException | None) -> bool:
    """Whether an SQLite file was locked for longer than its busy time, whatever library says so."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        error = getattr(error, "orig", None) or error.__cause__
    return False

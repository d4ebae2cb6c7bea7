"""The keys of requests, and the answers, in the caller's own transaction: they exist if and only if it commits."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sagaz_durable.transactions.sessions import talk, talk_sync
from sagaz_durable.transactions.statements import Caller, Joining, Rows, Statement, check_caller
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey

__all__ = ["join_answer", "join_answer_sync", "join_key", "join_key_sync"]


async def join_key(session: Any, store: object, key: NewKey) -> KeyClaim:
    """Claim the key of a request in the caller's transaction, which then holds it until it ends.

    Raises:
        TransactionRequired: The caller is in no transaction.
        WrongDatabase: The caller's connection does not lead to the store's database.
        UnsupportedSession: Nothing can be inserted through ``session``.
    """
    return await talk(session, store, key, _claiming)


def join_key_sync(session: Any, store: object, key: NewKey) -> KeyClaim:
    """Do as `join_key`, with a synchronous session."""
    return talk_sync(session, store, key, _claiming)


async def join_answer(session: Any, store: object, key: str, answer: str) -> bool:
    """Keep the answer to a request in the caller's transaction; False if that does not hold the request's key.

    Errors are those of `join_key`.
    """
    return await talk(session, store, (key, answer), _answering)


def join_answer_sync(session: Any, store: object, key: str, answer: str) -> bool:
    """Do as `join_answer`, with a synchronous session."""
    return talk_sync(session, store, (key, answer), _answering)


def _claiming(joining: Joining, caller: Caller, key: NewKey) -> Generator[Statement, Rows, KeyClaim]:
    yield from check_caller(joining, caller, "idempotency key")
    if claimed := (yield joining.claim_key(key)):
        [(saga_id, resumed)] = claimed
        return KeyClaim(True, bool(resumed), saga_id=saga_id)
    found = yield joining.find_key(key.id)
    return KeyClaim(False, False, *found[0]) if found else KeyClaim(False)


def _answering(joining: Joining, caller: Caller, answer: tuple[str, str]) -> Generator[Statement, Rows, bool]:
    yield from check_caller(joining, caller, "answer")
    return bool((yield joining.answer_key(*answer)))

"""The keys of requests, in a dictionary; called under the store's lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sagaz_durable.stores.memory.rows import RequestKey, Rows
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey

__all__ = ["answer_key", "claim_key", "erase", "find_key", "free_key", "prune_keys", "renew_key"]


def claim_key(rows: Rows, key: NewKey) -> KeyClaim:
    """Claim a key that is new, forgotten, or left without an answer."""
    moment, known = datetime.now(UTC), rows.request_keys.get(key.id)
    until = None if key.owner is None else moment + timedelta(seconds=key.lease_seconds)
    if known is None or (known.expires_at <= moment and not known.is_held(moment)):
        expires_at = moment + timedelta(seconds=key.keep_seconds)
        rows.request_keys[key.id] = RequestKey(key.fingerprint, key.saga_id, key.owner, until, None, expires_at)
        return KeyClaim(True, saga_id=key.saga_id)
    is_free = known.owner == key.owner or not known.is_held(moment)
    if not (is_free and known.answer is None and known.fingerprint == key.fingerprint):
        return _told(known, moment)
    rows.request_keys[key.id] = replace(known, owner=key.owner, leased_until=until)
    return KeyClaim(True, resumed=True, saga_id=known.saga_id)


def renew_key(rows: Rows, key_id: str, owner: str, lease_seconds: float) -> bool:
    """Prolong the lease."""
    until = datetime.now(UTC) + timedelta(seconds=lease_seconds)
    return _change(rows, key_id, owner, leased_until=until)


def answer_key(rows: Rows, key_id: str, owner: str, answer: str) -> bool:
    """Keep the answer."""
    return _change(rows, key_id, owner, owner=None, leased_until=None, answer=answer)


def free_key(rows: Rows, key_id: str, owner: str) -> bool:
    """Forget a key that has no answer, or let somebody else have it if its run is there."""
    if not _change(rows, key_id, owner, owner=None, leased_until=None):
        return False
    if rows.request_keys[key_id].saga_id not in rows.runs.rows:
        del rows.request_keys[key_id]
    return True


def find_key(rows: Rows, key_id: str) -> KeyClaim | None:
    """Return what is known of a key."""
    moment, known = datetime.now(UTC), rows.request_keys.get(key_id)
    if known is None or (known.expires_at <= moment and not known.is_held(moment)):
        return None
    return _told(known, moment)


def prune_keys(rows: Rows, limit: int) -> int:
    """Delete keys whose time is over; return how many."""
    moment = datetime.now(UTC)
    over = [one for one, key in rows.request_keys.items() if key.expires_at <= moment and not key.is_held(moment)]
    for one in over[:limit]:
        del rows.request_keys[one]
    return len(over[:limit])


def erase(rows: Rows, saga_id: str) -> None:
    """Forget the answers to the requests that started a run."""
    for one, key in rows.request_keys.items():
        if key.saga_id == saga_id:
            rows.request_keys[one] = replace(key, answer=None)


def _change(rows: Rows, key_id: str, holder: str, **values: object) -> bool:
    known = rows.request_keys.get(key_id)
    if known is None or known.owner != holder or known.answer is not None:
        return False
    rows.request_keys[key_id] = replace(known, **values)  # type: ignore[arg-type]
    return True


def _told(known: RequestKey, moment: datetime) -> KeyClaim:
    seconds = 0.0 if known.leased_until is None else max(0.0, (known.leased_until - moment).total_seconds())
    return KeyClaim(False, False, known.fingerprint, known.saga_id, known.answer, seconds)

"""Requests that clients may repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from file_store.tables import Tables, now
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey


@dataclass(frozen=True)
class Key:
    """One key: whose it is, until when, and the answer."""

    new: NewKey
    expires_at: datetime
    owner: str | None
    until: datetime | None
    answer: str | None = None

    @property
    def left(self) -> float:
        """How many seconds of its lease are left."""
        return 0.0 if self.until is None else max(0.0, (self.until - now()).total_seconds())

    @property
    def told(self) -> KeyClaim:
        return KeyClaim(False, False, self.new.fingerprint, self.new.saga_id, self.answer, self.left)


def claim(tables: Tables, new: NewKey) -> KeyClaim:
    known = _known(tables, new.id)
    until = None if new.owner is None else now() + timedelta(seconds=new.lease_seconds)
    if known is None:
        tables.keys[new.id] = Key(new, now() + timedelta(seconds=new.keep_seconds), new.owner, until)
        return KeyClaim(True, saga_id=new.saga_id)
    is_free = known.owner == new.owner or not known.left
    if not (is_free and known.answer is None and known.new.fingerprint == new.fingerprint):
        return known.told
    tables.keys[new.id] = replace(known, owner=new.owner, until=until)
    return KeyClaim(True, True, saga_id=known.new.saga_id)


def renew(tables: Tables, key_id: str, owner: str, lease_seconds: float) -> bool:
    return _change(tables, key_id, owner, until=now() + timedelta(seconds=lease_seconds))


def answer(tables: Tables, key_id: str, owner: str, answer: str) -> bool:
    return _change(tables, key_id, owner, owner=None, until=None, answer=answer)


def free(tables: Tables, key_id: str, owner: str) -> bool:
    if not _change(tables, key_id, owner, owner=None, until=None):
        return False
    if tables.keys[key_id].new.saga_id not in tables.runs:
        del tables.keys[key_id]
    return True


def find(tables: Tables, key_id: str) -> KeyClaim | None:
    known = _known(tables, key_id)
    return known and known.told


def prune(tables: Tables, limit: int) -> int:
    over = [key_id for key_id in tables.keys if _known(tables, key_id) is None][:limit]
    for key_id in over:
        del tables.keys[key_id]
    return len(over)


def erase(tables: Tables, saga_id: str) -> None:
    """Forget the answers to the requests that started a run."""
    for key_id, known in tables.keys.items():
        if known.new.saga_id == saga_id:
            tables.keys[key_id] = replace(known, answer=None)


def _known(tables: Tables, key_id: str) -> Key | None:
    known = tables.keys.get(key_id)
    return None if known is None or (known.expires_at <= now() and not known.left) else known


def _change(tables: Tables, key_id: str, holder: str, **values: object) -> bool:
    known = tables.keys.get(key_id)
    if known is None or known.owner != holder or known.answer is not None:
        return False
    tables.keys[key_id] = replace(known, **values)
    return True

"""The keys of requests that clients may repeat."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Q

from django_sagaz._stores.orm.rows import Moment, aware
from django_sagaz.models import RequestKey, Run
from sagaz_integration_core.contract.request_keys import KeyClaim, NewKey

__all__ = ["answer_key", "claim_key", "find_key", "free_key", "prune_keys", "renew_key"]


def claim_key(connection: Any, key: NewKey) -> KeyClaim:
    """Claim a key that is new, forgotten, or left without an answer."""
    moment = Moment(connection)
    try:
        with transaction.atomic(connection.alias):
            return _claim(connection, key, moment)
    except IntegrityError:
        # Somebody else was faster.
        return find_key(connection, key.id) or KeyClaim(False)


def _claim(connection: Any, key: NewKey, moment: Moment) -> KeyClaim:
    keys = RequestKey.objects.using(connection.alias)
    try:
        with transaction.atomic(connection.alias):
            known = _locked(connection, key.id)
    except DatabaseError:
        if not connection.features.has_select_for_update_nowait:
            raise
        # Another transaction has it.
        return find_key(connection, key.id) or KeyClaim(False)
    if known is not None and _is_over(known, moment):
        known.delete()
        known = None
    if known is None:
        _insert(connection, key, moment)
        return KeyClaim(True, saga_id=key.saga_id)
    is_free = known.owner == key.owner or not _is_held(known, moment)
    if not (is_free and known.answer is None and known.fingerprint == key.fingerprint):
        return _told(known, moment)
    keys.filter(pk=key.id).update(owner=key.owner, leased_until=_until(key, moment))
    return KeyClaim(True, resumed=True, saga_id=known.saga_id)


def renew_key(connection: Any, key_id: str, owner: str, lease_seconds: float) -> bool:
    """Prolong the lease."""
    until = Moment(connection).after(lease_seconds)
    return bool(_held_by(connection, key_id, owner).update(leased_until=until))


def answer_key(connection: Any, key_id: str, owner: str | None, answer: str) -> bool:
    """Keep the answer; without an owner, of a key that this transaction holds."""
    return bool(_held_by(connection, key_id, owner).update(answer=answer, owner=None, leased_until=None))


def free_key(connection: Any, key_id: str, owner: str) -> bool:
    """Forget a key that has no answer, or let somebody else have it if its run is there."""
    held = _held_by(connection, key_id, owner)
    if (known := held.select_for_update().first()) is None:
        return False
    if Run.objects.using(connection.alias).filter(pk=known.saga_id).exists():
        held.update(owner=None, leased_until=None)
    else:
        held.delete()
    return True


def find_key(connection: Any, key_id: str) -> KeyClaim | None:
    """Return what is known of a key."""
    moment, known = Moment(connection), RequestKey.objects.using(connection.alias).filter(pk=key_id).first()
    return None if known is None or _is_over(known, moment) else _told(known, moment)


def prune_keys(connection: Any, limit: int) -> int:
    """Delete keys whose time is over; return how many."""
    now = Moment(connection).now
    over = Q(expires_at__lte=now) & (Q(leased_until=None) | Q(leased_until__lte=now))
    keys = RequestKey.objects.using(connection.alias)
    ids = list(keys.filter(over).order_by("expires_at").values_list("pk", flat=True)[:limit])
    return keys.filter(over, pk__in=ids).delete()[0]


def _locked(connection: Any, key_id: str) -> RequestKey | None:
    """Return a key, locked by its primary key alone; one that another transaction has is not waited for."""
    nowait = connection.features.has_select_for_update_nowait
    return RequestKey.objects.using(connection.alias).select_for_update(nowait=nowait).filter(pk=key_id).first()


def _insert(connection: Any, key: NewKey, moment: Moment) -> None:
    RequestKey.objects.using(connection.alias).create(
        id=key.id,
        fingerprint=key.fingerprint,
        saga_id=key.saga_id,
        owner=key.owner,
        leased_until=_until(key, moment),
        created_at=moment.now,
        expires_at=moment.after(key.keep_seconds),
    )


def _held_by(connection: Any, key_id: str, owner: str | None) -> Any:
    return RequestKey.objects.using(connection.alias).filter(pk=key_id, owner=owner, answer=None)


def _until(key: NewKey, moment: Moment) -> Any:
    return None if key.owner is None else moment.after(key.lease_seconds)


def _is_held(known: RequestKey, moment: Moment) -> bool:
    return known.leased_until is not None and known.leased_until > moment.now


def _is_over(known: RequestKey, moment: Moment) -> bool:
    return known.expires_at <= moment.now and not _is_held(known, moment)


def _told(known: RequestKey, moment: Moment) -> KeyClaim:
    until = aware(known.leased_until)
    seconds = 0.0 if until is None else max(0.0, (until - moment.utc).total_seconds())
    return KeyClaim(False, False, known.fingerprint, known.saga_id, known.answer, seconds)

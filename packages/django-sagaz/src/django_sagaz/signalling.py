"""Sending a signal as part of the caller's own database transaction, perhaps because a person has approved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core import signing
from django.db import transaction

from django_sagaz._project.current import current_project
from django_sagaz.transactions import dispatch_after_commit, joined_project
from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.operations.approvals import (
    WEEK,
    Approval,
    accept_decision,
    chosen_signer,
    decision,
    new_token,
    read_token,
)
from sagaz_durable.runtime.signalling import accept_signal, new_signal

if TYPE_CHECKING:
    from django_sagaz._project.project import Project
    from sagaz_durable.signing import Signer
    from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = [
    "adecide_approval",
    "approval_token",
    "asend_signal",
    "decide_approval",
    "read_approval",
    "send_signal",
]

_SALT = "django_sagaz.approvals"


def send_signal(
    name: str,
    payload: ContextLike = NOTHING,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    signal_id: str = "",
    using: str | None = None,
    connection: Any = None,
) -> bool:
    """Send a signal with the commit of the transaction that is open, and return whether it is a new one.

    One INSERT on the transaction's own connection, which waits for no run. A rollback, also of a savepoint, leaves
    nothing.

    Arguments and errors are those of `sagaz_durable.sagas.Sagas.send_signal`; in place of ``session`` there is the
    transaction.

    Args:
        using: The database alias of the transaction; by default the one that sagas are kept in.
        connection: Or the connection of the transaction, as ``transaction.get_connection()`` returns it.

    Raises:
        TransactionRequired: No transaction is open.
        WrongDatabase: It is open on another database than the one that sagas are kept in.
        StoreNotReady: The database lacks tables or rights, which the message names.
        DatabaseError: What Django raises for a conflict with another transaction; yours is to be begun anew.
    """
    project = joined_project(connection, using, "signal")
    signal = new_signal(project.settings, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)
    return accept_signal(signal, _insert(project, signal))


async def asend_signal(
    name: str,
    payload: ContextLike = NOTHING,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    signal_id: str = "",
    using: str | None = None,
) -> bool:
    """Send a signal in asynchronous code, which can hold no transaction in Django: it is committed when this returns.

    Arguments and errors are those of `send_signal`.
    """
    return await sync_to_async(_committed)(
        send_signal, name, payload, saga_id=saga_id, key=key, signal_id=signal_id, using=using
    )


def approval_token(
    name: str,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    signal_id: str = "",
    expires: timedelta = WEEK,
) -> str:
    """Return a token for `decide_approval`, to be put into a link; whoever has it can read what it names.

    It is signed with ``SECRET_KEY``, and those of ``SECRET_KEY_FALLBACKS`` verify, too; or with the setting
    ``SIGNING_KEYS``, if that is given. Arguments and errors are those of `sagaz_durable.sagas.Sagas.approval_token`.
    """
    project = current_project()
    return new_token(
        _signer(project), project.settings, name, saga_id=saga_id, key=key, signal_id=signal_id, expires=expires
    )


def read_approval(token: str) -> Approval:
    """Return what a token may decide about, to be shown to whoever is asked; the database is not asked.

    Raises:
        ApprovalInvalid: It was changed, was signed for something else, or its key is gone.
        ApprovalExpired: Its time is over.
    """
    return read_token(_signer(current_project()), token)


def decide_approval(
    token: str,
    payload: ContextLike,
    *,
    by: str,
    reason: str = "",
    using: str | None = None,
    connection: Any = None,
) -> bool:
    """Send the signal that a token names with the transaction that is open, and return whether it is new.

    It is False if the same was decided before. Who decided and why are kept in the audit of the run.

    Args:
        token: From `approval_token`; it comes by POST, since programs that scan mails follow links.
        payload: The decision, as the step gets it.
        by: Who decides, as ``request.user.get_username()``; it must not be empty.
        reason: Why, for the audit.
        using, connection: As for `send_signal`.

    Raises:
        ApprovalInvalid, ApprovalExpired: As for `read_approval`.
        ApprovalDecided: It was decided before, and otherwise; or what was decided was erased since.
        ApprovalEnded: The run has ended.
        TransactionRequired, WrongDatabase, StoreNotReady, DatabaseError: As for `send_signal`.
        UsageError: ``by`` names nobody, or ``reason`` is no text.
    """
    project = joined_project(connection, using, "decision")
    signal = decision(project.settings, read_token(_signer(project), token), payload, by=by, reason=reason)
    return accept_decision(signal, _insert(project, signal))


async def adecide_approval(
    token: str, payload: ContextLike, *, by: str, reason: str = "", using: str | None = None
) -> bool:
    """Decide in asynchronous code, which can hold no transaction in Django: it is committed when this returns.

    Arguments and errors are those of `decide_approval`.
    """
    return await sync_to_async(_committed)(decide_approval, token, payload, by=by, reason=reason, using=using)


def _committed(work: Callable[..., bool], *given: Any, using: str | None, **options: Any) -> bool:
    with transaction.atomic(current_project().alias if using is None else using):
        return work(*given, using=using, **options)


def _insert(project: Project, signal: NewSignal) -> Sent:
    """Insert a signal that was checked, on the connection of the transaction that is open."""
    sent = project.lacks.insert(project.store, lambda: project.store.send_here(signal))
    if sent.created and signal.saga_id is not None:
        dispatch_after_commit(project, [signal.saga_id])
    return sent


def _signer(project: Project) -> Signer:
    return chosen_signer(project.settings, _DjangoSigner())


class _Short:
    """JSON as Django signs it, but not in ASCII, in which names of other scripts are too long for an address."""

    def dumps(self, obj: Any) -> bytes:
        """Return what is signed."""
        return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, data: bytes) -> Any:
        """Return what was signed."""
        return json.loads(data)


class _DjangoSigner:
    """Signs with the project's ``SECRET_KEY``."""

    def sign(self, values: Sequence[Any]) -> str:
        return signing.dumps(list(values), salt=_SALT, serializer=_Short)

    def unsign(self, token: str) -> Any:
        try:
            return signing.loads(token, salt=_SALT, serializer=_Short)
        except signing.BadSignature:
            return None

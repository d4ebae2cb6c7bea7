"""Sending a signal as part of the caller's own database transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_sagaz._project.current import current_project
from django_sagaz.transactions import dispatch_after_commit, given_alias, require_transaction
from sagaz_durable import NOTHING
from sagaz_durable.runtime.signalling import accept_signal, new_signal

__all__ = ["send_signal"]


def send_signal(
    name: str,
    payload: Mapping[str, Any] = NOTHING,
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
    project = current_project()
    require_transaction(project, given_alias(connection, using), "signal")
    signal = new_signal(project.settings, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)
    sent = project.lacks.insert(project.store, lambda: project.store.send_here(signal))
    accepted = accept_signal(signal, sent)
    if accepted and saga_id is not None:
        dispatch_after_commit(project, [saga_id])
    return accepted

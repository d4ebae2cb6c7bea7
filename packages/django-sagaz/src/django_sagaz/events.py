"""Publishing an event as part of the caller's own database transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_sagaz._project.current import current_project
from django_sagaz._stores.runners import immediately
from django_sagaz.transactions import given_alias, require_transaction
from sagaz_durable.runtime.publishing import checked_event

__all__ = ["publish"]


def publish(
    topic: str,
    payload: Mapping[str, Any],
    *,
    using: str | None = None,
    connection: Any = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Record an event with the commit of the transaction that is open, and return its event_id.

    One INSERT on the transaction's own connection. A rollback, also of a savepoint, leaves nothing; after the commit
    ``manage.py sagaz_worker`` publishes the event, at least once.

    Arguments and errors are those of `sagaz_durable.sagas.Sagas.publish`; in place of ``session`` there is the
    transaction.

    Args:
        using: The database alias of the transaction; by default the one that sagas are kept in.
        connection: Or the connection of the transaction, as ``transaction.get_connection()`` returns it.

    Raises:
        TransactionRequired: No transaction is open.
        WrongDatabase: It is open on another database than the one that sagas are kept in.
        StoreNotReady: The database lacks tables or rights, which the message names.
    """
    project = current_project()
    require_transaction(project, given_alias(connection, using), "event")
    event = checked_event(
        project.configuration, topic, payload, key=key, headers=headers, idempotency_key=idempotency_key
    )
    project.lacks.insert(project.store, lambda: immediately(project.store.insert_events([event])))
    return event.event_id

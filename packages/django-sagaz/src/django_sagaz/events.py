"""Publishing an event as part of the caller's own database transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_sagaz._stores.runners import immediately
from django_sagaz.transactions import joined_project
from sagaz_durable import ContextLike
from sagaz_durable.runtime.publishing import checked_event

__all__ = ["publish"]


def publish(
    topic: str,
    payload: ContextLike,
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
        using, connection: As for `django_sagaz.send_signal`.

    Raises:
        TransactionRequired, WrongDatabase, StoreNotReady: As for `django_sagaz.send_signal`.
    """
    project = joined_project(connection, using, "event")
    event = checked_event(
        project.configuration, topic, payload, key=key, headers=headers, idempotency_key=idempotency_key
    )
    project.lacks.insert(project.store, lambda: immediately(project.store.insert_events([event])))
    return event.event_id

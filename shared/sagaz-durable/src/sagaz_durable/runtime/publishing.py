"""Publishing events of the application's own, which may be part of its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sagaz_durable.outbox.new_event import new_event
from sagaz_integration_core.contract.events import NewEvent

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["checked_event", "publish", "publish_sync"]


def checked_event(
    runtime: SagazRuntime,
    topic: str,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> NewEvent:
    """Check everything that a publication is given, and return the row to insert; nothing is written.

    Raises:
        SettingsError, ContextValueError, InvalidInput: As `new_event` does.
    """
    settings = runtime.settings
    return new_event(
        topic, payload, publishes=runtime.publishes, max_bytes=settings.max_context_bytes, wording=settings.wording,
        key=key, headers=headers, idempotency_key=idempotency_key,
    )  # fmt: skip


async def publish(
    runtime: SagazRuntime,
    topic: str,
    payload: Mapping[str, Any],
    *,
    session: Any = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Record an event for the broker and return its event_id; with ``session`` it joins that transaction.

    Raises:
        SettingsError: There is no broker that it could go to.
        InvalidInput: It cannot be kept as it is.
        StoreUnavailable: Nothing was recorded.
        WrongDatabase, TransactionRequired: The session cannot carry the event.
    """
    runtime.check_open()
    event = checked_event(runtime, topic, payload, key=key, headers=headers, idempotency_key=idempotency_key)
    if session is None:
        await runtime.reach(lambda: runtime.store.insert_events([event]))
    else:
        from sagaz_durable.transactions.sessions import join_events

        await join_events(session, runtime.store, [event])
    return event.event_id


def publish_sync(
    runtime: SagazRuntime,
    topic: str,
    payload: Mapping[str, Any],
    *,
    session: Any = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Do as `publish`, from a thread that is not the event loop's; ``session`` is a synchronous one."""
    runtime.check_open()
    event = checked_event(runtime, topic, payload, key=key, headers=headers, idempotency_key=idempotency_key)
    if session is None:
        runtime.call(lambda: runtime.store.insert_events([event]))
    else:
        from sagaz_durable.transactions.sessions import join_events_sync

        join_events_sync(session, runtime.store, [event])
    return event.event_id

"""Publishing events of the application's own, which may be part of its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sagaz_durable import ContextLike
from sagaz_durable.runtime.client import RuntimeClient

if TYPE_CHECKING:
    from sagaz_durable.runtime.configuration import Configuration
    from sagaz_integration_core.contract.events import NewEvent

__all__ = ["Publications", "checked_event"]


class Publications(RuntimeClient):
    """Publishes events to the configured broker."""

    async def publish(
        self,
        topic: str,
        payload: ContextLike,
        *,
        session: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Record an event and return its event_id; a worker publishes it after the commit, at least once.

        Args:
            topic: 1 to 255 bytes.
            payload: As a saga's context, but for members of enums: a dict or a model.
            session: As for `start`: the event exists if and only if its transaction is committed. Without, the event is
                committed when this returns.
            key: Events with the same key arrive in the order in which they were recorded.
            headers: Strings by name; the request's ``correlation_id`` is among them anyway.
            idempotency_key: A second event with the same key and topic is ignored.

        Raises:
            SettingsError: No broker is configured.
            InvalidInput: It cannot be kept as it is; with a `ContextValueError` the payload. Nothing was recorded.
            RuntimeNotOpen: The runtime is not open, or shutting down.
            StoreUnavailable: Nothing was recorded.
            TransactionRequired, WrongDatabase: The session cannot carry the event.
        """
        runtime = self._runtime
        event = self._event(topic, payload, key, headers, idempotency_key)
        if session is None:
            await runtime.reach(lambda: runtime.store.insert_events([event]))
        else:
            from sagaz_durable.transactions.sessions import join_events

            await join_events(session, runtime.store, [event])
        return event.event_id

    def publish_sync(
        self,
        topic: str,
        payload: ContextLike,
        *,
        session: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Do as `publish`, in synchronous code and with a synchronous session."""
        runtime = self._runtime
        event = self._event(topic, payload, key, headers, idempotency_key)
        if session is None:
            runtime.call(lambda: runtime.store.insert_events([event]))
        else:
            from sagaz_durable.transactions.sessions import join_events_sync

            join_events_sync(session, runtime.store, [event])
        return event.event_id

    def _event(
        self,
        topic: str,
        payload: ContextLike,
        key: str | None,
        headers: Mapping[str, str] | None,
        idempotency_key: str | None,
    ) -> NewEvent:
        self._runtime.check_open()
        configuration = self._runtime.configuration
        return checked_event(configuration, topic, payload, key=key, headers=headers, idempotency_key=idempotency_key)


def checked_event(
    configuration: Configuration,
    topic: str,
    payload: ContextLike,
    *,
    key: str | None,
    headers: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> NewEvent:
    """Check everything that a publication is given, and return the row to insert; nothing is written.

    Raises:
        SettingsError, ContextValueError, InvalidInput: As `new_event` does.
    """
    from sagaz_durable.outbox.new_event import new_event

    settings = configuration.settings
    return new_event(
        topic, payload, publishes=configuration.publishes, max_bytes=settings.max_context_bytes,
        wording=settings.wording, key=key, headers=headers, idempotency_key=idempotency_key,
    )  # fmt: skip

"""What endpoints ask for to publish events of their own, as part of their transaction."""

# Without `from __future__ import annotations`, and with the engine imported inside: see `fastapi_sagaz.dependencies`.

from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from fastapi_sagaz._app_state import runtime_of

__all__ = ["EventPublisher"]


class EventPublisher:
    """Publishes events to the configured broker: ``publish: Annotated[EventPublisher, Depends()]``."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._runtime = runtime_of(connection)

    async def __call__(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        session: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Record an event and return its event_id; a worker publishes it after the commit, at least once.

        Args:
            topic: 1 to 255 bytes.
            payload: What JSON has, as for a saga's context.
            session: An SQLAlchemy session or connection, or a psycopg connection: the event exists if and only if its
                transaction is committed. Without, the event is committed when this returns.
            key: Events with the same key arrive in the order in which they were recorded.
            headers: Strings by name; the request's ``correlation_id`` is among them anyway.
            idempotency_key: A second event with the same key and topic is ignored.

        Raises:
            SettingsError: No broker is configured.
            ContextValueError: The payload holds what some store would bend; nothing was recorded.
            StoreUnavailable: Nothing was recorded.
            TransactionRequired, WrongDatabase: The session cannot carry the event.
        """
        from sagaz_durable.runtime.publishing import publish

        return await publish(
            self._runtime,
            topic,
            payload,
            session=session,
            key=key,
            headers=headers,
            idempotency_key=idempotency_key,
        )

    def sync(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        session: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Do the same in a plain ``def`` endpoint, with a synchronous session."""
        from sagaz_durable.runtime.publishing import publish_sync

        return publish_sync(
            self._runtime,
            topic,
            payload,
            session=session,
            key=key,
            headers=headers,
            idempotency_key=idempotency_key,
        )

"""`Webhooks`: an event is verified, given to the sagas that want it, and recorded with what it leads to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from sagaz_durable.intake.events import Event, handled, unhandled, without_effect
from sagaz_durable.intake.handlers import Hook, handlers_of
from sagaz_durable.webhooks.delivery import Source
from sagaz_durable.webhooks.errors import SignatureRefused
from sagaz_durable.webhooks.headers import Headers
from sagaz_durable.webhooks.reception import receive
from sagaz_durable.workers.start_limits import limits_of
from sagaz_integration_core.context import correlation
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookRecord
from sagaz_integration_core.error_text import message_text, visible
from sagaz_integration_core.errors import SagazError, UnstorableValue

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope

__all__ = ["Dispatch", "Webhooks"]

logger = logging.getLogger("sagaz_durable.webhooks")

Dispatch = Callable[[Sequence[str]], None]
"""Tells of committed runs whoever executes them; raises nothing."""


class Webhooks:
    """Takes the events of an application's sources.

    Args:
        scope: The application's open runtime, or what stands for it.
        hook: How the application's functions are called.
        dispatch: Told of the runs that go on; None if workers find them by themselves.
    """

    def __init__(self, scope: ReachableScope, hook: Hook, dispatch: Dispatch | None = None) -> None:
        self._scope = scope
        self._hook = hook
        self._dispatch = dispatch

    async def take(
        self, name: str, source: Source, headers: Headers, body: bytes, correlation_id: str | None
    ) -> list[WebhookRecord]:
        """Record an event, durably, with what it leads to; return what became of it.

        A later delivery of it changes nothing, whatever has become of its run since.

        Args:
            name: Of the source, by which sagas name it.
            body: As it came, and perhaps one byte more than is taken.

        Raises:
            EventRefused: Its body cannot be used.
            SignatureRefused: It is not from this source, or not from now.
            StoreUnavailable: Nothing was recorded.
        """
        most = self._scope.settings.max_webhook_bytes
        try:
            received = receive(source, headers, body, datetime.now(UTC), most=most)
        except SignatureRefused as error:
            logger.warning("A webhook of source %r was refused: %s", name, visible(message_text(error), 500))
            raise
        event = Event.of(name, received.delivery_id, received.event_type, received.event, body=body)
        event = replace(event, correlation_id=correlation.correlation_id() or correlation_id)
        records = await self._record(await self._meanings(event))
        await self._tell(records)
        return records

    async def _meanings(self, event: Event) -> list[NewWebhook]:
        handlers = list(handlers_of(self._scope.registry, event.source))
        meant = [await handled(self._scope, event, handler, self._hook) for handler in handlers]
        return [one for one in meant if one is not None] or [unhandled(event)]

    async def _record(self, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
        try:
            records = await self._scope.reach(lambda: self._scope.store.receive_webhook(events))
        except UnstorableValue as error:
            kept = [without_effect(event, error) for event in events]
            records = await self._scope.reach(lambda: self._scope.store.receive_webhook(kept))
        for record in records:
            if record.outcome == "quarantined":
                logger.warning(
                    "Event %s of source %r is quarantined as %s: %s",
                    visible(record.delivery_id), record.source, record.id, visible(record.reason or ""),
                )  # fmt: skip
        if delayed := {record.handler for record in records if record.outcome == "delayed"}:
            await self._start_delayed(delayed)
        return records

    async def _start_delayed(self, handlers: Collection[str]) -> None:
        limits = [limit for limit in limits_of(self._scope.registry) if limit.handler in handlers]
        try:
            for limit in limits:
                await self._scope.reach(partial(self._scope.store.start_delayed, limit))
        except SagazError as error:
            # It is recorded, and workers look for it.
            logger.warning("Delayed runs cannot be started now; a worker tries again: %s", message_text(error))

    async def _tell(self, records: Sequence[WebhookRecord]) -> None:
        # What was delayed may have begun meanwhile; a message for what has not does nothing.
        going = ("started", "delayed", "resumed")
        on = [one.saga_id for one in records if one.outcome in going and one.saga_id is not None]
        if on and self._dispatch is not None:
            told: Any = self._hook(self._dispatch)(on)
            if isawaitable(told):
                await told

"""Quarantined and ignored events are given to their sagas again, or dismissed, at a person's word."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sagaz_durable.intake.events import Event, handled, unhandled, unwanted, without_effect
from sagaz_durable.intake.handlers import Handler, Hook, handlers_of
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookOutcome, WebhookRecord
from sagaz_integration_core.error_text import storable, visible
from sagaz_integration_core.errors import UnstorableValue

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import Scope

__all__ = ["Dismisser", "Replayed", "Replayer"]

logger = logging.getLogger("sagaz_durable.audit")


_NONE = "there is no event with this id"


@record
class Replayed:
    """What became of a replay, or of a dismissal.

    Attributes:
        done: Whether the event is not quarantined, or not any more.
        outcome: What it is now; None if it is not there.
    """

    id: str
    done: bool
    outcome: WebhookOutcome | None
    message: str


class Replayer:
    """One person, in front of one store.

    Args:
        hook: How the application's functions are called.
        actor, reason: Who decides, and why, for the audit.
    """

    def __init__(self, scope: Scope, hook: Hook, actor: str, reason: str) -> None:
        self._scope = scope
        self._hook = hook
        self._actor = visible(actor, 255)
        self._reason = storable(reason)

    async def replay(self, webhook_id: str, *, dry_run: bool = False) -> Replayed:
        """Give an event to its saga again, and do what that makes of it now.

        One that no saga wanted is given to all that want events of its source now, as if it had just been delivered.

        Args:
            dry_run: Look only whether it can be.
        """
        record = await _found(self._scope.store, webhook_id)
        if record is None:
            return Replayed(webhook_id, False, None, _NONE)
        handlers = self._handlers(record)
        if why := _refusal(record, handlers):
            return Replayed(webhook_id, False, record.outcome, why)
        if dry_run:
            names = ", ".join(handler.name for handler in handlers)
            return Replayed(webhook_id, True, record.outcome, f"would be given to {names} again")
        content = json.loads(record.body or "null")
        event = Event(record.source, record.delivery_id, record.event_type, content, record.correlation_id)
        if record.handler:
            return await self._replay(record, event, handlers[0])
        return await self._deliver(record, event, handlers)

    async def _deliver(self, record: WebhookRecord, event: Event, handlers: Sequence[Handler]) -> Replayed:
        meant = [await handled(self._scope, event, handler, self._hook) for handler in handlers]
        wanted = [one for one in meant if one is not None]
        # What is known of it already is not done again, so that it can be repeated if the note is not written.
        became = [one for one in await self._received(wanted) if one.handler] if wanted else []
        if await self._done(replace(unhandled(event), id=record.id)) is None:
            return Replayed(record.id, False, None, "it was deleted meanwhile")
        outcomes = ", ".join(one.outcome for one in became) or "ignored"
        logger.warning("replay of event %s by %s: %s", record.id, self._actor, outcomes)
        told = "; ".join(one.reason or _told(one) for one in became) or "no saga wants it"
        quarantined = any(one.outcome == "quarantined" for one in became)
        return Replayed(record.id, not quarantined, became[0].outcome if became else "ignored", told)

    async def _received(self, events: Sequence[NewWebhook]) -> list[WebhookRecord]:
        try:
            return await self._scope.store.receive_webhook(events)
        except UnstorableValue as error:
            return await self._scope.store.receive_webhook([without_effect(one, error) for one in events])

    async def _replay(self, record: WebhookRecord, event: Event, handler: Handler) -> Replayed:
        meant = await handled(self._scope, event, handler, self._hook) or unwanted(event, handler)
        changed = await self._done(replace(meant, id=record.id))
        if changed is None:
            return Replayed(record.id, False, None, f"it is {record.outcome} no more: somebody else was faster")
        logger.warning("replay of event %s by %s: %s", record.id, self._actor, changed.outcome)
        if changed.outcome == "quarantined":
            return Replayed(record.id, False, changed.outcome, changed.reason or "")
        return Replayed(record.id, True, changed.outcome, _told(changed))

    async def _done(self, event: NewWebhook) -> WebhookRecord | None:
        try:
            return await self._scope.store.replay_webhook(event, self._actor, self._reason)
        except UnstorableValue as error:
            kept = without_effect(event, error)
            return await self._scope.store.replay_webhook(kept, self._actor, self._reason)

    def _handlers(self, record: WebhookRecord) -> list[Handler]:
        known = handlers_of(self._scope.registry, record.source)
        return [handler for handler in known if record.handler in ("", handler.name)]


class Dismisser:
    """One person who decides that nothing is to come of events.

    Args:
        actor, reason: Who decides, and why, for the audit.
    """

    def __init__(self, store: SagaStore, actor: str, reason: str) -> None:
        self._store = store
        self._actor = visible(actor, 255)
        self._reason = storable(reason)

    async def dismiss(self, webhook_id: str, *, dry_run: bool = False) -> Replayed:
        """Have a quarantined event be ignored from now on.

        Args:
            dry_run: Look only whether it can be.
        """
        record = await _found(self._store, webhook_id)
        if record is None:
            return Replayed(webhook_id, False, None, _NONE)
        if record.outcome != "quarantined":
            return Replayed(webhook_id, False, record.outcome, f"it is not quarantined, but {record.outcome}")
        if dry_run:
            return Replayed(webhook_id, True, record.outcome, "would be ignored")
        if await self._store.dismiss_webhook(webhook_id, self._actor, self._reason) is None:
            return Replayed(webhook_id, False, None, "it is quarantined no more: somebody else was faster")
        logger.warning("dismissal of event %s by %s", webhook_id, self._actor)
        return Replayed(webhook_id, True, "ignored", "is ignored")


async def _found(store: SagaStore, webhook_id: str) -> WebhookRecord | None:
    found = await store.find_webhooks(WebhookFilter(id=webhook_id, limit=1)) if findable(webhook_id) else []
    return found[0] if found else None


def _refusal(record: WebhookRecord, handlers: Sequence[Handler]) -> str:
    if record.outcome not in ("quarantined", "ignored"):
        return f"it is not quarantined, but {record.outcome}"
    if record.body is None:
        return "its body was erased"
    who = f"{record.handler} wants no" if record.handler else "no saga wants"
    return "" if handlers else f"{who} events of {record.source!r} in this deployment"


def _told(record: WebhookRecord) -> str:
    told = {
        "started": f"started run {record.saga_id}",
        "resumed": f"sent signal {record.signal}, which a run waits for",
        "delayed": f"recorded run {record.saga_id}, which starts when the limit of its trigger allows it",
        "early": f"sent signal {record.signal}, which is kept until a run waits for it",
    }
    return told.get(record.outcome, f"{record.handler} does not want it")

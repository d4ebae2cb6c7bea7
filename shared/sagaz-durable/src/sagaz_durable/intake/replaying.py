"""Quarantined events are given to their sagas again, at a person's word."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sagaz_durable.intake.events import Event, handled, unwanted, without_effect
from sagaz_durable.intake.handlers import Handler, Hook, handlers_of
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.webhooks import NewWebhook, WebhookFilter, WebhookOutcome, WebhookRecord
from sagaz_integration_core.error_text import storable, visible
from sagaz_integration_core.errors import UnstorableValue

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import Scope

__all__ = ["Replayed", "Replayer"]

logger = logging.getLogger("sagaz_durable.audit")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a replay.

    Attributes:
        done: Whether the event is not quarantined any more.
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
        """Give a quarantined event to its saga again, and do what that makes of it now.

        Args:
            dry_run: Look only whether it can be.
        """
        record = await self._find(webhook_id)
        if record is None:
            return Replayed(webhook_id, False, None, "there is no event with this id")
        handler = self._handler(record)
        if (why := _refusal(record, handler)) or handler is None:
            return Replayed(webhook_id, False, record.outcome, why)
        if dry_run:
            return Replayed(webhook_id, True, record.outcome, f"would be given to {record.handler} again")
        return await self._replay(record, handler)

    async def _replay(self, record: WebhookRecord, handler: Handler) -> Replayed:
        content = json.loads(record.body or "null")
        event = Event(record.source, record.delivery_id, record.event_type, content, record.correlation_id)
        meant = await handled(self._scope, event, handler, self._hook) or unwanted(event, handler)
        changed = await self._done(replace(meant, id=record.id))
        if changed is None:
            return Replayed(record.id, False, None, "it is quarantined no more: somebody else was faster")
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

    async def _find(self, webhook_id: str) -> WebhookRecord | None:
        if not findable(webhook_id):
            return None
        found = await self._scope.store.find_webhooks(WebhookFilter(id=webhook_id, limit=1))
        return found[0] if found else None

    def _handler(self, record: WebhookRecord) -> Handler | None:
        known = handlers_of(self._scope.registry, record.source)
        return next((handler for handler in known if handler.name == record.handler), None)


def _refusal(record: WebhookRecord, handler: Handler | None) -> str:
    if record.outcome != "quarantined":
        return f"it is not quarantined, but {record.outcome}"
    if record.body is None:
        return "its body was erased"
    return f"{record.handler} wants no events of {record.source!r} in this deployment" if handler is None else ""


def _told(record: WebhookRecord) -> str:
    told = {
        "started": f"started run {record.saga_id}",
        "resumed": f"sent signal {record.signal}, which a run waits for",
        "delayed": f"recorded run {record.saga_id}, which starts when the limit of its trigger allows it",
        "early": f"sent signal {record.signal}, which is kept until a run waits for it",
    }
    return told.get(record.outcome, f"{record.handler} does not want it")

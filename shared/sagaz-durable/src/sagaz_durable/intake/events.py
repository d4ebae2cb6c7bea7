"""Events as they are recorded: each handler's meaning becomes a run to insert, a signal to send, or a reason."""

from __future__ import annotations

import hashlib
import json
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from sagaz_durable import ContextLike
from sagaz_durable._upstream.triggers import Trigger
from sagaz_durable.intake.handlers import Handler, Hook, NotUsable
from sagaz_durable.masked_errors import masked_error
from sagaz_durable.runtime.new_run import new_run, saga_id_of_event
from sagaz_durable.runtime.signalling import new_signal
from sagaz_durable.webhooks.resuming import Resuming
from sagaz_durable.workers.start_limits import delayed
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.webhooks import NewWebhook
from sagaz_integration_core.error_text import visible
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import Scope

__all__ = ["Event", "handled", "unhandled", "unwanted", "without_effect"]

_MOST_ID = 200
_MOST_REASON = 500


@record
class Event:
    """One event of a source.

    Attributes:
        delivery_id: What the sender calls it, or a digest of it.
        content: As JSON has it.
        correlation_id: Of the request that brought it.
    """

    source: str
    delivery_id: str
    event_type: str | None
    content: Any = field(repr=False)
    correlation_id: str | None = None

    @classmethod
    def of(cls, source: str, delivery_id: str | None, event_type: str | None, content: Any, *, body: bytes) -> Event:
        """Return an event with texts that every database can keep."""
        given = _plain(delivery_id or "")
        if not 0 < len(given) <= _MOST_ID:
            given = f"sha256:{hashlib.sha256(delivery_id.encode() if delivery_id else body).hexdigest()}"
        return cls(source, given, None if event_type is None else _plain(event_type)[:_MOST_ID], content)

    @property
    def body(self) -> str:
        """Its JSON, in ASCII."""
        return json.dumps(self.content, separators=(",", ":"))


async def handled(scope: Scope, event: Event, handler: Handler, hook: Hook) -> NewWebhook | None:
    """Return what a handler makes of an event; None if it does not want it."""
    try:
        meant = await handler.meaning(event.content, hook)
        return None if meant is None else _effect(scope, event, handler, meant)
    except NotUsable as error:
        return replace(_new(event, handler.name), reason=_plain(str(error)))
    except SagazError as error:
        # A context or an address that cannot be recorded.
        reason = f"{handler.name}: {visible(masked_error(error), _MOST_REASON)}"
        return replace(_new(event, handler.name), reason=_plain(reason))


def unhandled(event: Event) -> NewWebhook:
    """Return what is recorded of an event that no saga wants."""
    return _new(event, "")


def unwanted(event: Event, handler: Handler) -> NewWebhook:
    """Return what is recorded of a quarantined event that its handler does not want now."""
    return _new(event, handler.name)


def without_effect(event: NewWebhook, error: BaseException) -> NewWebhook:
    """Return an event of which this database cannot store what it leads to."""
    if event.run is None and event.signal is None:
        return event
    reason = f"{event.handler}: {visible(masked_error(error), _MOST_REASON)}"
    return replace(event, run=None, signal=None, fingerprint="", reason=_plain(reason))


def _effect(scope: Scope, event: Event, handler: Handler, meant: ContextLike) -> NewWebhook:
    declared = handler.declared
    if isinstance(declared, Resuming):
        return _signal(scope, event, handler, declared, meant)
    return _run(scope, event, handler, declared, meant)


def _run(scope: Scope, event: Event, handler: Handler, trigger: Trigger, context: ContextLike) -> NewWebhook:
    place, name = trigger.idempotency_key, handler.registration.name
    # The sender's own id tells events apart where the trigger has no key.
    key = f"{handler.method}\0{event.delivery_id}"
    if place is not None:
        key = f"key\0{handler.address('idempotency key', place, event.content)}"
    saga_id = saga_id_of_event(name, event.source, key)
    run = new_run(scope, handler.registration.saga_class, context, saga_id=saga_id)
    run = replace(run, correlation_id=run.correlation_id or event.correlation_id)
    if trigger.is_limited:
        return _new(event, handler.name, run.fingerprint, run=delayed(run), delayed=True)
    return _new(event, handler.name, run.fingerprint, run=run)


def _signal(scope: Scope, event: Event, handler: Handler, resuming: Resuming, payload: ContextLike) -> NewWebhook:
    key = saga_id = None
    if resuming.key is not None:
        key = handler.address("key", resuming.key, event.content)
    elif resuming.saga_id is not None:
        saga_id = handler.address("saga_id", resuming.saga_id, event.content)
    signal = new_signal(scope.settings, resuming.signal, payload, saga_id=saga_id, key=key, signal_id=event.delivery_id)
    return _new(event, handler.name, signal.fingerprint, signal=signal)


def _new(event: Event, handler: str, fingerprint: str = "", **effect: Any) -> NewWebhook:
    place = f"{event.source}\0{event.delivery_id}\0{handler}"
    return NewWebhook(
        _digest(place), _digest(f"{place}\0{fingerprint}"), event.source, event.delivery_id, event.event_type, handler,
        fingerprint, event.body, event.correlation_id, **effect,
    )  # fmt: skip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()

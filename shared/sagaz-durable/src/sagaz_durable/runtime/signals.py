"""Sending signals to runs that wait, or will wait, for them; perhaps as part of the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sagaz_durable.serialization import codec
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.errors import InvalidInput, SignalConflict, SignalRefused, UsageError

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["accept_signal", "new_signal", "send_signal", "send_signal_sync"]

_NAMESPACE = uuid.UUID("0d9f6d6f-5f0c-5d0c-8a94-0a3c1b5f3c77")


async def send_signal(
    runtime: SagazRuntime,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    signal_id: str = "",
    session: Any = None,
) -> bool:
    """Send a signal to the run that waits for it, or will; with ``session`` it joins that transaction.

    It needs no saga to be known here, and no run to be there: a signal that comes early is kept until a run waits for
    it. Return False when the same one was sent before, which changes nothing.

    Args:
        payload: What the waiting step gets; a dict, {} by default.
        saga_id, key: Exactly one of them: which run, or the key under which a run waits.
        signal_id: Tells apart several signals of one name and address, as a webhook's delivery id does.

    Raises:
        SignalConflict: One of this name, address and signal_id was sent before with another payload.
        SignalRefused: The run has ended.
        InvalidInput: A name, key or id is malformed, or the payload cannot be recorded.
        StoreUnavailable: Nothing was recorded.
        WrongDatabase, TransactionRequired: The session cannot carry the signal.
    """
    runtime.check_open()
    signal = new_signal(runtime, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)
    if session is None:
        [sent] = await runtime.reach(lambda: runtime.store.send([signal]))
    else:
        from sagaz_durable.transactions.sessions import join_signals

        [sent] = await join_signals(session, runtime.store, [signal])
    return accept_signal(signal, sent)


def send_signal_sync(
    runtime: SagazRuntime,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    saga_id: str | None = None,
    key: str | None = None,
    signal_id: str = "",
    session: Any = None,
) -> bool:
    """Do as `send_signal`, from a thread that is not the event loop's; ``session`` is a synchronous one."""
    runtime.check_open()
    signal = new_signal(runtime, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)
    if session is None:
        [sent] = runtime.call(lambda: runtime.store.send([signal]))
    else:
        from sagaz_durable.transactions.sessions import join_signals_sync

        [sent] = join_signals_sync(session, runtime.store, [signal])
    return accept_signal(signal, sent)


def new_signal(
    runtime: SagazRuntime,
    name: str,
    payload: Mapping[str, Any] | None,
    *,
    saga_id: str | None,
    key: str | None,
    signal_id: str,
) -> NewSignal:
    """Check everything that a signal is given, and return the row to insert; nothing is written.

    Raises:
        InvalidInput: It cannot be kept as it is.
        UsageError: Not exactly one of saga_id and key was given.
    """
    check_identifier("a signal's name", name)
    if (saga_id is None) == (key is None):
        raise UsageError("Give exactly one of saga_id and key: the run, or what it waits for the signal under.")
    check_identifier("saga_id" if key is None else "key", saga_id if key is None else key)
    if signal_id:
        check_identifier("signal_id", signal_id)
    elif not isinstance(signal_id, str):
        raise InvalidInput(f"signal_id must be a string, not {type(signal_id).__name__}.")
    limit = runtime.settings.max_context_bytes
    text = codec.encode_payload({} if payload is None else payload, "the signal's payload", max_bytes=limit)
    address = f"run\0{saga_id}" if key is None else f"key\0{key}"
    made_of = f"{name}\0{address}\0{signal_id}"
    return NewSignal(
        str(uuid.uuid5(_NAMESPACE, made_of)), name, saga_id, key, signal_id, text, codec.fingerprint(f"{name}\0{text}")
    )


def accept_signal(signal: NewSignal, sent: Sent) -> bool:
    """Return whether a signal is a new one.

    Raises:
        SignalConflict: It was sent before with another payload.
        SignalRefused: Its run has ended.
    """
    if sent.fingerprint is None:
        raise SignalRefused(f"Run {signal.saga_id} has ended; signal {signal.name!r} would never be taken.")
    if not sent.created and sent.fingerprint != signal.fingerprint:
        to = f"run {signal.saga_id}" if signal.key is None else "this key"
        with_id = f" with the signal_id {signal.signal_id!r}" if signal.signal_id else ""
        raise SignalConflict(
            f"Signal {signal.name!r} was sent to {to}{with_id} before, with another payload. Repeat it with an equal "
            "payload, or give each one a signal_id of its own."
        )
    return sent.created

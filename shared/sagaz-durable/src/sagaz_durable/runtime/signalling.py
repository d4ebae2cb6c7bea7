"""Sending signals to runs that wait, or will wait, for them; perhaps as part of the caller's transaction."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from sagaz_durable import NOTHING, ContextLike
from sagaz_durable.runtime.client import RuntimeClient
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_integration_core.contract.statuses import ERASED
from sagaz_integration_core.errors import InvalidInput, SignalConflict, SignalRefused, UsageError

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["Signals", "accept_signal", "check_address", "insert_signal", "insert_signal_sync", "new_signal"]

_NAMESPACE = uuid.UUID("0d9f6d6f-5f0c-5d0c-8a94-0a3c1b5f3c77")


class Signals(RuntimeClient):
    """Sends signals to runs that wait, or will wait, for them."""

    async def send_signal(
        self,
        name: str,
        payload: ContextLike = NOTHING,
        *,
        saga_id: str | None = None,
        key: str | None = None,
        signal_id: str = "",
        session: Any = None,
    ) -> bool:
        """Send a signal, and return whether it is a new one; the same one sent before changes nothing.

        Nobody need wait for it yet: one that comes early is kept until a step asks for it.

        Args:
            name: Of the signal, as the waiting step names it: 1 to 200 printable characters.
            payload: What the step is given: a dict or a model, up to the setting ``max_context_bytes``.
            saga_id, key: Exactly one of them: the run, or the key under which a run waits.
            signal_id: Tells apart several signals of one name and address, as a webhook's delivery id does.
            session: As for `start`: the signal exists if and only if its transaction is committed. Without, it is
                committed when this returns.

        Raises:
            InvalidInput: A name, key or id is malformed, or the payload cannot be recorded (`ContextValueError`); or
                one of this name, address and signal_id was sent with another payload (`SignalConflict`).
            RuntimeNotOpen: The runtime is not open, or shutting down.
            SignalRefused: The run has ended.
            StoreUnavailable: Nothing was recorded.
            TransactionRequired, WrongDatabase: The session cannot carry the signal.
            UsageError: Not exactly one of ``saga_id`` and ``key`` was given.
        """
        signal = self._signal(name, payload, saga_id, key, signal_id)
        return accept_signal(signal, await insert_signal(self._runtime, signal, session))

    def send_signal_sync(
        self,
        name: str,
        payload: ContextLike = NOTHING,
        *,
        saga_id: str | None = None,
        key: str | None = None,
        signal_id: str = "",
        session: Any = None,
    ) -> bool:
        """Do as `send_signal`, in synchronous code and with a synchronous session."""
        signal = self._signal(name, payload, saga_id, key, signal_id)
        return accept_signal(signal, insert_signal_sync(self._runtime, signal, session))

    def _signal(
        self, name: str, payload: ContextLike, saga_id: str | None, key: str | None, signal_id: str
    ) -> NewSignal:
        self._runtime.check_open()
        return new_signal(self._runtime.settings, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)


async def insert_signal(runtime: SagazRuntime, signal: NewSignal, session: Any) -> Sent:
    """Insert a signal that was checked, as part of the session's transaction if one is given."""
    if session is None:
        [sent] = await runtime.reach(lambda: runtime.store.send([signal]))
    else:
        from sagaz_durable.transactions.sessions import join_signals

        [sent] = await join_signals(session, runtime.store, [signal])
    return sent


def insert_signal_sync(runtime: SagazRuntime, signal: NewSignal, session: Any) -> Sent:
    """Do as `insert_signal`, in synchronous code and with a synchronous session."""
    if session is None:
        [sent] = runtime.call(lambda: runtime.store.send([signal]))
    else:
        from sagaz_durable.transactions.sessions import join_signals_sync

        [sent] = join_signals_sync(session, runtime.store, [signal])
    saga_id, dispatch = signal.saga_id, runtime.configuration.dispatch
    if sent.created and saga_id is not None and dispatch is not None:
        from sagaz_durable.transactions.commit_hooks import after_commit

        after_commit(session, partial(dispatch, [saga_id]))
    return sent


def new_signal(
    settings: Settings,
    name: str,
    payload: ContextLike,
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
    check_address(name, saga_id, key, signal_id)
    from sagaz_durable.engine.recovery.people import check_decision
    from sagaz_durable.serialization import codec
    from sagaz_integration_core.contract.waits import NewSignal

    limit, wording = settings.max_context_bytes, settings.wording
    text = codec.encode_payload(payload, "the signal's payload", max_bytes=limit, wording=wording)
    check_decision(name, payload)
    address = f"run\0{saga_id}" if key is None else f"key\0{key}"
    made_of = f"{name}\0{address}\0{signal_id}"
    return NewSignal(
        str(uuid.uuid5(_NAMESPACE, made_of)), name, saga_id, key, signal_id, text, codec.fingerprint(name, text)
    )


def check_address(name: str, saga_id: str | None, key: str | None, signal_id: str) -> None:
    """Check what a signal is called, and whom it is for.

    Raises:
        InvalidInput: A name, key or id is malformed.
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


def accept_signal(signal: NewSignal, sent: Sent) -> bool:
    """Return whether a signal is a new one.

    Raises:
        SignalConflict: It was sent before with another payload.
        SignalRefused: Its run has ended.
    """
    if sent.fingerprint is None:
        raise SignalRefused(f"Run {signal.saga_id} has ended; signal {signal.name!r} would never be taken.")
    # Of a run that was erased it is not known any more what its signals brought.
    if not sent.created and sent.fingerprint not in (signal.fingerprint, ERASED):
        to = f"run {signal.saga_id}" if signal.key is None else "this key"
        with_id = f" with the signal_id {signal.signal_id!r}" if signal.signal_id else ""
        raise SignalConflict(
            f"Signal {signal.name!r} was sent to {to}{with_id} before, with another payload. Repeat it with an equal "
            "payload, or give each one a signal_id of its own."
        )
    return sent.created

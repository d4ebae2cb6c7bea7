"""Approvals: whoever holds a signed, expiring token may decide, once, about the one signal that it names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sagaz_durable import ContextLike
from sagaz_durable.operations.decisions import named
from sagaz_durable.runtime.signalling import (
    Signals,
    accept_signal,
    check_address,
    insert_signal,
    insert_signal_sync,
    new_signal,
)
from sagaz_durable.signing import KeySigner, Signer
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.statuses import ERASED
from sagaz_integration_core.error_text import storable, value_text, visible
from sagaz_integration_core.errors import (
    ApprovalDecided,
    ApprovalEnded,
    ApprovalExpired,
    ApprovalInvalid,
    SettingsError,
    SignalConflict,
    SignalRefused,
    UsageError,
)

if TYPE_CHECKING:
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.waits import NewSignal, Sent

__all__ = ["WEEK", "Approval", "Approvals", "accept_decision", "chosen_signer", "decision", "new_token", "read_token"]

WEEK = timedelta(days=7)

_MOST_CHARACTERS = 4_000


@record
class Approval:
    """What a token may decide about; exactly one of ``saga_id`` and ``key`` is not None.

    Attributes:
        name: Of the signal.
        signal_id: Tells apart several approvals of one name and address.
        expires_at: When the token's time is over; aware, in UTC.
    """

    name: str
    saga_id: str | None
    key: str | None
    signal_id: str
    expires_at: datetime


class Approvals(Signals):
    """Lets people decide who have no account with the operators' commands: by a link, in a page of the application."""

    def signer(self) -> Signer:
        """Return what signs tokens; a framework that has a secret of its own has another one, see `chosen_signer`."""
        return chosen_signer(self._runtime.settings, None)

    def approval_token(
        self,
        name: str,
        *,
        saga_id: str | None = None,
        key: str | None = None,
        signal_id: str = "",
        expires: timedelta = WEEK,
    ) -> str:
        """Return a token for `decide_approval`, to be put into a link; whoever has it can read what it names.

        Nothing is written. All tokens for one name, address and signal_id stand for one decision, whose ever they are:
        the first one counts.

        Args:
            name, saga_id, key, signal_id: Of the signal, as for `send_signal`.
            expires: From now on, by this machine's clock; not longer than a signal is remembered.

        Raises:
            InvalidInput: A name, key or id is malformed.
            SettingsError: The setting ``signing_keys`` is needed and not there.
            UsageError: Not exactly one of ``saga_id`` and ``key`` was given, or ``expires`` is too long or over.
        """
        settings = self._runtime.settings
        return new_token(self.signer(), settings, name, saga_id=saga_id, key=key, signal_id=signal_id, expires=expires)

    def read_approval(self, token: str) -> Approval:
        """Return what a token may decide about, to be shown to whoever is asked; nothing is read from the store.

        Raises:
            ApprovalInvalid: It was changed, was signed for something else, or its key is gone.
            ApprovalExpired: Its time is over.
            SettingsError: The setting ``signing_keys`` is needed and not there.
        """
        return read_token(self.signer(), token)

    async def decide_approval(
        self, token: str, payload: ContextLike, *, by: str, reason: str = "", session: Any = None
    ) -> bool:
        """Send the signal that a token names, and return whether it is new; False if the same was decided before.

        Who decided and why are kept in the audit of the run that the signal is for, that waits under its key, or that
        begins to wait under it later and takes the decision.

        Args:
            token: From `approval_token`; it comes by POST, since programs that scan mails follow links.
            payload: The decision, as the step gets it.
            by: Who decides, whom the application has to know from elsewhere than the token; it must not be empty.
            reason: Why, for the audit.
            session: As for `send_signal`: the decision and its note exist if and only if its transaction is committed.

        Raises:
            ApprovalInvalid, ApprovalExpired: As for `read_approval`.
            ApprovalDecided: It was decided before, and otherwise; or what was decided was erased since.
            ApprovalEnded: The run has ended.
            UsageError: ``by`` names nobody, or ``reason`` is no text.
            InvalidInput, RuntimeNotOpen, SettingsError, StoreUnavailable, TransactionRequired, WrongDatabase: As for
                `send_signal`.
        """
        signal = self._decision(token, payload, by, reason)
        return accept_decision(signal, await insert_signal(self._runtime, signal, session))

    def decide_approval_sync(
        self, token: str, payload: ContextLike, *, by: str, reason: str = "", session: Any = None
    ) -> bool:
        """Do as `decide_approval`, in synchronous code and with a synchronous session."""
        signal = self._decision(token, payload, by, reason)
        return accept_decision(signal, insert_signal_sync(self._runtime, signal, session))

    def _decision(self, token: str, payload: ContextLike, by: str, reason: str) -> NewSignal:
        self._runtime.check_open()
        return decision(self._runtime.settings, self.read_approval(token), payload, by=by, reason=reason)


def chosen_signer(settings: Settings, own: Signer | None) -> Signer:
    """Return what signs tokens: the setting ``signing_keys`` if it is given, else the framework's own.

    Raises:
        SettingsError: There is neither.
    """
    if settings.signing_keys:
        return KeySigner(settings.signing_keys, "sagaz approval")
    if own is None:
        raise SettingsError(
            f"{settings.wording.setting('signing_keys')} is not set, and tokens for approvals are signed with it. Give "
            "it a random key of at least 32 bytes, the same in every process and after a restart; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return own


def new_token(
    signer: Signer,
    settings: Settings,
    name: str,
    *,
    saga_id: str | None,
    key: str | None,
    signal_id: str,
    expires: timedelta,
) -> str:
    """Return a token; see `Approvals.approval_token`."""
    check_address(name, saga_id, key, signal_id)
    _check_expires(settings, expires)
    until = (datetime.now(UTC) + expires).timestamp()
    return signer.sign([name, saga_id, key, signal_id, until])


def _check_expires(settings: Settings, expires: object) -> None:
    if not isinstance(expires, timedelta) or expires <= timedelta(0):
        raise UsageError(f"expires={value_text(expires, 60)}: expected a timedelta from now on, as timedelta(days=7).")
    # A decision that is not remembered any more could be taken again, and otherwise.
    for name in ("keep_signals_seconds", "keep_unclaimed_seconds"):
        kept = timedelta(seconds=getattr(settings, name))
        if expires > kept:
            raise UsageError(
                f"expires={expires}: expected at most {kept}, for so long {settings.wording.setting(name)} has signals "
                "remembered, and after that a token could decide twice. Let it expire earlier, or raise the setting."
            )


def read_token(signer: Signer, token: object) -> Approval:
    """Return what a token may decide about; see `Approvals.read_approval`."""
    known = isinstance(token, str) and token.isascii() and len(token) <= _MOST_CHARACTERS
    values = signer.unsign(token) if isinstance(token, str) and known else None
    if values is None:
        raise ApprovalInvalid("This is no token for an approval, or it was changed on its way. Ask for a new one.")
    name, saga_id, key, signal_id, until = values
    approval = Approval(name, saga_id, key, signal_id, datetime.fromtimestamp(until, UTC))
    if approval.expires_at <= datetime.now(UTC):
        raise ApprovalExpired(f"This approval had to be decided before {approval.expires_at:%Y-%m-%d %H:%M} UTC.")
    return approval


def decision(settings: Settings, approval: Approval, payload: ContextLike, *, by: str, reason: str) -> NewSignal:
    """Check a decision and return the signal to insert; nothing is written.

    Raises:
        InvalidInput: The payload cannot be kept as it is.
        UsageError: ``by`` names nobody, or ``reason`` is no text.
    """
    signal = new_signal(
        settings, approval.name, payload, saga_id=approval.saga_id, key=approval.key, signal_id=approval.signal_id
    )
    return replace(signal, actor=visible(named(by, reason), 255), reason=storable(reason))


def accept_decision(signal: NewSignal, sent: Sent) -> bool:
    """Return whether a decision is a new one.

    Raises:
        ApprovalDecided: It was decided before, and otherwise; or what was decided was erased since.
        ApprovalEnded: Its run has ended.
    """
    if not sent.created and sent.fingerprint == ERASED:
        raise ApprovalDecided("This was decided before; how is not known any more, because it was erased since.")
    try:
        return accept_signal(signal, sent)
    except SignalConflict:
        raise ApprovalDecided("This was decided before, and otherwise; that decision counts.") from None
    except SignalRefused:
        raise ApprovalEnded("What was to be approved has ended meanwhile, without a decision.") from None

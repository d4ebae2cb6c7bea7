"""Signals that people send to runs, with a note in their audit."""

from __future__ import annotations

import logging
from dataclasses import replace

from sagaz_durable import ContextLike
from sagaz_durable.operations.outcomes import Outcome, changed, check_version, missing
from sagaz_durable.operations.removal import Remover
from sagaz_durable.runtime.signalling import accept_signal, new_signal
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import FINISHED, FOREIGN, RunRecord
from sagaz_integration_core.contract.waits import NewSignal, Sent
from sagaz_integration_core.error_text import storable
from sagaz_integration_core.errors import SignalConflict, SignalRefused

__all__ = ["Sender"]

logger = logging.getLogger("sagaz_durable.audit")


class Sender(Remover):
    """One person, in front of one store."""

    async def send_signal(
        self,
        settings: Settings,
        name: str,
        payload: ContextLike,
        *,
        saga_id: str | None = None,
        key: str | None = None,
        signal_id: str = "",
        reason: str = "",
        dry_run: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Send a signal to a run, with a note in its audit, or to whichever run waits under a key.

        With ``version``, only if the run has that when the insertion looks, or it was sent before.

        Raises:
            InvalidInput: A name, key or id is malformed, or the payload cannot be recorded.
            RunChanged: The run has another version.
            UsageError: Not exactly one of ``saga_id`` and ``key`` was given, or a version for a key.
        """
        check_version(version, saga_id)
        signal = new_signal(settings, name, payload, saga_id=saga_id, key=key, signal_id=signal_id)
        run = None if saga_id is None else await self._find(saga_id)
        status = None if run is None else run.status
        if saga_id is not None and run is None:
            return Outcome(saga_id, "signal", False, None, missing(saga_id))
        if run is not None and run.fingerprint == FOREIGN:
            message = f"Run {saga_id} belongs to sagaz's own engine, which this is not."
            return Outcome(run.saga_id, "signal", False, status, message)
        if dry_run:
            return _would_send(signal, run, version)
        reason = storable(reason)
        signal = replace(signal, actor=self._actor, reason=reason)
        try:
            is_new = accept_signal(signal, await self._insert(signal, run, version))
        except (SignalConflict, SignalRefused) as error:
            return Outcome(saga_id or "", "signal", False, status, str(error))
        logger.warning(
            "signal %r by %s to %s%s", name, self._actor, "a key" if saga_id is None else f"run {saga_id}",
            f" ({reason})" if reason else "",
        )  # fmt: skip
        return Outcome(saga_id or "", "signal", True, status, "Sent." if is_new else "It was sent before.")

    async def _insert(self, signal: NewSignal, run: RunRecord | None, version: int | None) -> Sent:
        if run is None or version is None:
            [sent] = await self._store.send([signal])
            return sent
        # 0 has no run: the signal of a changed one is only looked for, as it may have been sent before.
        [sent] = await self._store.send([replace(signal, version=version if version == run.version else 0)])
        if sent.fingerprint is None and (now := await self._find(run.saga_id)) is not None and now.version != version:
            raise changed(now, version)
        return sent


def _would_send(signal: NewSignal, run: RunRecord | None, version: int | None) -> Outcome:
    if run is not None and version is not None and version != run.version:
        raise changed(run, version)
    status = None if run is None else run.status
    if status in FINISHED:
        message = f"Run {signal.saga_id} has ended; signal {signal.name!r} would never be taken."
        return Outcome(signal.saga_id or "", "signal", False, status, message)
    return Outcome(signal.saga_id or "", "signal", True, status, f"Would send the signal {signal.name!r}.")

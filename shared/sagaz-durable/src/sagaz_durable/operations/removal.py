"""What people have removed: contexts and results of runs that have ended, and the runs themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from sagaz_durable.operations import erasure as erasing
from sagaz_durable.operations.outcomes import Outcome, missing
from sagaz_durable.serialization.client_ids import findable
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.records import RunRecord, RunStatus, erased_as
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.error_text import storable, visible

__all__ = ["TRIES", "Remover"]

logger = logging.getLogger("sagaz_durable.audit")

TRIES = 5
"""How often a decision is taken anew because the run changed meanwhile."""

_BATCH = 500
"""How many runs one transaction deletes: few enough to hold nobody up."""


class Remover:
    """One person, in front of one store.

    Args:
        actor: Who decides, for the audit.
        wording: How commands are spelled.
    """

    def __init__(self, store: SagaStore, actor: str, wording: Wording) -> None:
        self._store = store
        self._actor = visible(actor, 255)
        self._wording = wording

    async def _find(self, saga_id: str) -> RunRecord | None:
        return await self._store.load(saga_id) if findable(saga_id) else None

    async def erase(self, saga_id: str, *, reason: str = "", dry_run: bool = False) -> Outcome:
        """Erase what an ended run was given and has returned; its row and journal stay, and its key is not free.

        It erases the context, the results of the steps, the payloads of sent events and of signals, and the digests by
        which a repeated start or signal is compared.
        """
        run: RunRecord | None = None
        for _ in range(TRIES):
            run = await self._find(saga_id)
            if run is None:
                return Outcome(saga_id, "erase", False, None, missing(saga_id))
            if erased_as(run.fingerprint) is not None:
                return Outcome(saga_id, "erase", True, run.status, "It was erased before.")
            if why := await erasing.refusal(self._store, run, self._wording):
                return Outcome(saga_id, "erase", False, run.status, why)
            erased = "context, results and the payloads of its events and signals"
            if dry_run:
                return Outcome(saga_id, "erase", True, run.status, f"Would erase {erased}.")
            if await erasing.erase(self._store, saga_id, self._actor, storable(reason)):
                return Outcome(saga_id, "erase", True, run.status, f"Erased {erased}.")
        status = None if run is None else run.status
        return Outcome(saga_id, "erase", False, status, f"Run {saga_id} is locked or changes. Try again.")

    async def erase_old(
        self, older_than: datetime, statuses: Sequence[RunStatus], *, reason: str = "", dry_run: bool = False
    ) -> int:
        """Erase runs that ended before ``older_than`` with one of these statuses; return how many. See `erase`.

        Runs with events that were not sent are left for later.

        Args:
            dry_run: Count them only.
        """
        erasure = Erasure(self._actor, storable(reason), tuple(statuses), before=older_than)
        if dry_run:
            return await self._store.count_erasable(erasure)
        return await erasing.erase_old(self._store, erasure)

    async def prune_signals(self, older_than: datetime, *, dry_run: bool = False) -> int:
        """Delete signals that were taken before ``older_than``, or sent in vain before it; return how many.

        Sent in vain are those that nobody has taken, whose run has ended or is unknown, or for whose key nobody waits.

        Args:
            dry_run: Count them only.
        """
        if dry_run:
            return await self._store.count_prunable_signals(older_than, older_than)
        deleted = await erasing.all_of(lambda: self._store.prune_signals(older_than, older_than, _BATCH))
        logger.warning(
            "prune by %s: %d signals that were taken, or sent in vain, before %s",
            self._actor, deleted, older_than.isoformat(),
        )  # fmt: skip
        return deleted

    async def prune_keys(self) -> int:
        """Delete the answers to requests with an ``Idempotency-Key`` whose time is over; return how many."""
        deleted = await erasing.all_of(lambda: self._store.prune_keys(_BATCH))
        logger.warning("prune by %s: %d answers to requests whose time was over", self._actor, deleted)
        return deleted

    async def prune_webhooks(self, before: datetime, ignored_before: datetime, *, dry_run: bool = False) -> int:
        """Delete webhooks' events that came before, or that no saga wanted and came before; return how many.

        Quarantined ones stay.

        Args:
            dry_run: Count them only.
        """
        if dry_run:
            return await self._store.count_prunable_webhooks(before, ignored_before)
        deleted = await erasing.all_of(lambda: self._store.prune_webhooks(before, ignored_before, _BATCH))
        if deleted:
            logger.warning("prune by %s: %d webhooks whose time was over", self._actor, deleted)
        return deleted

    async def prune(self, older_than: datetime, statuses: Sequence[RunStatus], *, dry_run: bool = False) -> int:
        """Delete runs that ended before ``older_than`` with one of these statuses, a batch at a time.

        Their journals, audit and sent events go with them, and their idempotency keys are free again.

        Args:
            dry_run: Count them only.
        """
        if dry_run:
            return await self._store.count_prunable(older_than, statuses)
        deleted = await erasing.all_of(lambda: self._store.prune(older_than, statuses, _BATCH))
        logger.warning("prune by %s: %d runs that had ended before %s", self._actor, deleted, older_than.isoformat())
        return deleted

"""The erasure of what ended runs were given and have returned, when a person asks for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from sagaz_durable.serialization.client_ids import findable
from sagaz_durable.settings.wording import Wording
from sagaz_durable.workers.erasing import BATCH
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.records import FINISHED, FOREIGN, RunRecord
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["all_of", "erase", "erase_old", "refusal"]

logger = logging.getLogger("sagaz_durable.audit")


async def refusal(store: SagaStore, run: RunRecord, wording: Wording) -> str | None:
    """Return why a run cannot be erased now; None when it can."""
    if run.fingerprint == FOREIGN:
        return f"Run {run.saga_id} belongs to sagaz's own engine, which this is not. Only prune removes what it holds."
    if run.status not in FINISHED:
        return f"Only a run that has ended can be erased; run {run.saga_id} is {run.status}."
    if unsent := await store.count_events(EventFilter(statuses=("pending", "dead"), saga_id=run.saga_id)):
        return (
            f"Run {run.saga_id} has {unsent} events that were not sent: they would be lost. Let them be sent (those "
            f"that were set aside: {wording.command('events', '--retry')}), and erase it then."
        )
    return None


async def erase(store: SagaStore, saga_id: str, actor: str, reason: str) -> bool:
    """Erase one run; False when it is locked, or not to be erased any more."""
    done = findable(saga_id) and await store.erase(Erasure(actor, reason, saga_ids=(saga_id,)), 1) == 1
    if done:
        logger.warning(
            "erase of run %s by %s%s", saga_id, actor, f" ({reason})" if reason else "", extra={"saga_id": saga_id}
        )
    return done


async def erase_old(store: SagaStore, erasure: Erasure) -> int:
    """Erase all runs that are meant, a batch at a time; return how many."""
    erased = await all_of(lambda: store.erase(erasure, BATCH))
    logger.warning("erase by %s: %d runs that had ended before %s", erasure.actor, erased, erasure.before)
    return erased


async def all_of(remove: Callable[[], Awaitable[int]]) -> int:
    """Repeat what removes a batch until there is nothing left; return how many that were."""
    removed = 0
    while batch := await remove():
        removed += batch
    return removed

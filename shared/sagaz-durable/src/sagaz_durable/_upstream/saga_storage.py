"""sagaz's ``SagaStorage`` interface over a store, so that unmodified sagaz code can save and look up runs in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sagaz.core.storage.base import SagaStorage
from sagaz.core.types import SagaStatus, SagaStepStatus

from sagaz_durable.recovery import action_of
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.client_ids import findable
from sagaz_durable.serialization.context_values import values_of
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import FINISHED, FOREIGN, RunRecord, RunStatus, StepRecord
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["StoreSagaStorage"]

# sagaz has no word for a step that waits; the run's own status tells.
_STEP_STATUS = {
    ("do", "started"): SagaStepStatus.EXECUTING,
    ("do", "waiting"): SagaStepStatus.EXECUTING,
    ("do", "done"): SagaStepStatus.COMPLETED,
    ("do", "failed"): SagaStepStatus.FAILED,
    ("do", "in_doubt"): SagaStepStatus.FAILED,
    ("undo", "started"): SagaStepStatus.COMPENSATING,
    ("undo", "waiting"): SagaStepStatus.COMPENSATING,
    ("undo", "done"): SagaStepStatus.COMPENSATED,
    ("undo", "failed"): SagaStepStatus.FAILED,
}


class StoreSagaStorage(SagaStorage):
    """Reads every run; what it saves is marked foreign, listed, and never claimed by a worker.

    Args:
        store: An open store; it is closed by whoever opened it.
        max_bytes: The most that a saved context may measure.
        wording: How the setting that says so is spelled.
    """

    def __init__(self, store: SagaStore, max_bytes: int = 1_048_576, wording: Wording = NEUTRAL) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._wording = wording

    async def save_saga_state(
        self,
        saga_id: str,
        saga_name: str,
        status: SagaStatus,
        steps: list[dict[str, Any]],
        context: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Save what sagaz's own engine says of a run that the runtime does not execute."""
        values = {key: value for key, value in context.items() if key != "saga_id" and not key.startswith("__")}
        text = codec.encode(values, max_bytes=self._max_bytes, wording=self._wording)
        await self._store.save_foreign(saga_id, saga_name, status.value, text, metadata or {})

    async def load_saga_state(self, saga_id: str) -> dict[str, Any] | None:
        """Return a run with its steps, or None; so it does for what can be no saga_id."""
        if not findable(saga_id):
            return None
        record = await self._store.load(saga_id)
        if record is None:
            return None
        steps = await self._store.load_steps(saga_id)
        return {**_summary(record), "context": values_of(record, steps), "steps": _steps(steps)}

    async def delete_saga_state(self, saga_id: str) -> bool:
        """Delete a finished or foreign run."""
        return findable(saga_id) and await self._store.delete(saga_id)

    async def list_sagas(
        self, status: SagaStatus | None = None, saga_name: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        if not findable(saga_name):
            return []
        statuses = (status.value,) if status is not None else ()
        records = await self._store.find(
            RunFilter(statuses=cast(tuple[RunStatus, ...], statuses), saga_name=saga_name, limit=limit + offset)
        )
        return [_summary(record) for record in records[offset:]]

    async def update_step_state(
        self,
        saga_id: str,
        step_name: str,
        status: SagaStepStatus,
        result: Any = None,
        error: str | None = None,
        executed_at: datetime | None = None,
    ) -> None:
        """Refused: only the process that holds a run's lease writes its journal; sagaz's engine never calls this."""
        raise PermissionError(
            f"Step {step_name!r} of run {saga_id} was not changed: journals are written by the process that executes "
            "the run, under its lease."
        )

    async def get_saga_statistics(self) -> dict[str, Any]:
        """Return the number of runs, by status and altogether."""
        stats = await self._store.stats()
        return {"total_sagas": sum(stats.counts.values()), "by_status": dict(stats.counts)}

    async def cleanup_completed_sagas(self, older_than: datetime, statuses: list[SagaStatus] | None = None) -> int:
        """Delete runs that completed or were rolled back before a time; return how many."""
        chosen = [s.value for s in statuses] if statuses else ["completed", "rolled_back"]
        total = 0
        for finished in FINISHED:
            while finished in chosen and (deleted := await self._store.prune(older_than, [finished], 1_000)):
                total += deleted
        return total

    async def health_check(self) -> dict[str, Any]:
        """Return whether the store answers."""
        stats = await self._store.stats()
        return {"status": "healthy", "storage_type": self._store.kind, "total_sagas": sum(stats.counts.values())}


def _summary(record: RunRecord) -> dict[str, Any]:
    return {
        "saga_id": record.saga_id,
        "saga_name": record.saga_name,
        "status": record.status,
        "context": codec.decode(record.context),
        "metadata": {
            "error": record.error,
            "correlation_id": record.correlation_id,
            "attempt": record.attempt,
            "foreign": record.fingerprint == FOREIGN,
        },
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _steps(records: list[StepRecord]) -> list[dict[str, Any]]:
    skipped = {record.step for record in records if record.phase == "redo" and action_of(record) == "skip"}
    return [
        {
            "name": record.step,
            "status": _status(record, skipped).value,
            # Of one that failed, it is what its recovery has set.
            "result": codec.decode(record.result) if record.result and record.status == "done" else None,
            "error": record.error,
            "executed_at": record.finished_at,
        }
        for record in records
        # sagaz has no entry of its own for a recovery.
        if record.phase != "redo"
    ]


def _status(record: StepRecord, skipped: set[str]) -> SagaStepStatus:
    if record.phase == "do" and record.step in skipped:
        return SagaStepStatus.SKIPPED
    return _STEP_STATUS[record.phase, record.status]

"""Saving the state of runs to sagaz's own storages as well, truthfully and not in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagaz_durable.masked_errors import masked_error
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.tagging import plain_value
from sagaz_integration_core.contract.records import ClaimedRun, RunStatus
from sagaz_integration_core.errors import StoreUnavailable

__all__ = ["Mirror"]


class Mirror:
    """Writes each run's beginning and end to a sagaz storage, when the user's ``SagaConfig`` has one.

    sagaz itself swallows the errors of these saves, and calls a run whose compensation failed rolled back.
    """

    def __init__(self, storage: Any | None) -> None:
        self._storage = storage

    async def started(self, run: ClaimedRun) -> None:
        """Save that a run is being executed."""
        if self._storage is not None:
            await self._save(run, "executing", codec.decode_plain(run.context))

    async def finished(self, run: ClaimedRun, status: RunStatus, values: Mapping[str, Any]) -> None:
        """Save how a run ended."""
        if self._storage is not None:
            # As JSON: what sagaz's storages do with other types differs, and most refuse them.
            plain = {key: plain_value(value) for key, value in values.items() if not key.startswith("__")}
            await self._save(run, status, plain)

    async def _save(self, run: ClaimedRun, status: RunStatus, values: dict[str, Any]) -> None:
        from sagaz import SagaStatus

        try:
            await self._storage.save_saga_state(  # type: ignore[union-attr]
                run.saga_id, run.saga_name, SagaStatus(status), [], values
            )
        except Exception as error:
            raise StoreUnavailable(
                f"The state of run {run.saga_id} cannot be saved to sagaz's {type(self._storage).__name__}: "
                f"{masked_error(error)}"
            ) from error

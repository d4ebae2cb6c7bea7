"""What the calls of all runs of a process share, and what `current_step` tells of each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor as ThreadPool
from contextlib import AbstractContextManager
from typing import Any

from sagaz_durable.settings.wording import Wording
from sagaz_durable.transactions.step_transactions import StepTransactions
from sagaz_integration_core.context.current_step import CurrentStep, Waits, current
from sagaz_integration_core.context.log_fields import log_fields
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import ClaimedRun, Phase
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["StepEnvironment"]


@record
class StepEnvironment:
    """What the calls of all runs of a process share.

    Attributes:
        pool: Where plain functions are called.
        scope: Entered around every call, in the thread that makes it.
        backoff: Seconds to wait after so many failures.
        max_bytes: The most that a result may measure as JSON.
        wording: How the setting that says so is spelled.
        app, app_state: What `current_step` hands to steps.
        transactions: In which transactional steps are called, and the store whose journal is written in them.
    """

    pool: ThreadPool
    scope: Callable[[], AbstractContextManager[Any]]
    backoff: Callable[[int], float]
    max_bytes: int
    wording: Wording
    app: Any
    app_state: Any
    transactions: StepTransactions
    store: SagaStore

    def enter(self, run: ClaimedRun, step: str, phase: Phase, retry: int, waits: Waits | None = None) -> None:
        """Have `current_step`, and log records, tell which step is called from here on in this context."""
        info = CurrentStep(
            run.saga_id, run.saga_name, step, phase, run.attempt, retry, run.correlation_id, self.app, self.app_state,
            waits,
        )  # fmt: skip
        current.set(info)
        log_fields.set({**log_fields.get(), "step": step})

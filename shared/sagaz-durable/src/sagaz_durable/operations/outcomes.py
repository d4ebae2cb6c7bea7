"""What became of a decision, and all that is known of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sagaz_durable.engine.result import missing
from sagaz_durable.engine.state import StepView
from sagaz_integration_core.contract.decisions import Action, AuditRecord
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import RunRecord, RunStatus, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord

__all__ = ["Outcome", "RunReport", "missing"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one decision about one run.

    Attributes:
        done: Whether it took effect, or would with a dry run.
        status: The run's status now; None when there is no such run.
        message: What happens next, or why nothing does.
    """

    saga_id: str
    action: Action
    done: bool
    status: RunStatus | None
    message: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that is known of one run.

    Attributes:
        steps: Its journal, in the order of the starts.
        audit: What people decided.
        attempts: How its attempts ended, but for one that completed it or rolled it back.
        views: How far each step is, by this deployment's class; by the journal alone where there is none.
        waits: What its calls wait for, or have waited for since they began.
    """

    run: RunRecord
    steps: tuple[StepRecord, ...]
    audit: tuple[AuditRecord, ...]
    attempts: tuple[AttemptRecord, ...]
    views: Mapping[str, StepView]
    waits: tuple[WaitRecord, ...] = ()

    @property
    def status(self) -> RunStatus:
        """The run's status."""
        return self.run.status

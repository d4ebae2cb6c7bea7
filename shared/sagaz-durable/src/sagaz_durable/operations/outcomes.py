"""What became of a decision, and all that is known of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.engine.result import missing
from sagaz_durable.engine.state import StepView, step_views
from sagaz_durable.problem_types import NOT_FOUND, REFUSED, Kind
from sagaz_integration_core.contract.decisions import Action, AuditRecord
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import Phase, RunRecord, RunStatus, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import RunChanged, UsageError

__all__ = ["Outcome", "RunReport", "Settlement", "by_call", "changed", "check_version", "missing", "views_of"]

Settlement = Literal["completed", "rolled_back"]
"""As what a person has settled a run."""


@record
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

    @property
    def kind(self) -> Kind | None:
        """Which problem it is that the decision takes no effect; None if it does."""
        if self.done:
            return None
        # One without a saga_id is about whichever run waits under a key.
        return NOT_FOUND if self.saga_id and self.status is None else REFUSED


def check_version(version: object, saga_id: str | None) -> None:
    """Refuse what is no version of a run.

    Raises:
        UsageError: It is neither a whole number nor None, or there is no run that it could be of.
    """
    if version is not None and saga_id is None:
        raise UsageError("version= goes with saga_id=: it is the version of that run.")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise UsageError(f"version={value_text(version, 60)}: expected a whole number, as report.run.version, or None.")


def changed(run: RunRecord, version: int) -> RunChanged:
    """Return the error for a decision that was taken for another version of a run."""
    return RunChanged(
        f"Run {run.saga_id} has changed: it has version {run.version} and is {run.status}, and what was decided was "
        f"for version {version}. Nothing was done; look at it and decide again.",
        run.saga_id,
        version,
        run.version,
    )


@record
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


def by_call(steps: Sequence[StepRecord]) -> dict[tuple[str, Phase], StepRecord]:
    """Return a journal's entries by what was called."""
    return {(step.step, step.phase): step for step in steps}


def views_of(run: RunRecord, steps: Sequence[StepRecord], registry: SagaRegistry) -> dict[str, StepView]:
    """Return what is told of each step of a run, as `RunReport.views` has it."""
    return step_views(registry.graph(run.saga_name), run.direction, by_call(steps))

"""What the routes of `sagaz_router` are asked and answer, as models: for the application's OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AcceptedRun",
    "CompensationDocument",
    "DecisionDocument",
    "DecisionRequest",
    "ProbeDocument",
    "ProblemDocument",
    "ResolutionRequest",
    "RunDocument",
    "RunPage",
    "RunSummary",
    "SignalRequest",
    "StepDocument",
    "WaitDocument",
    "WebhookReceipt",
]

Status = Literal["pending", "executing", "compensating", "waiting", "completed", "rolled_back", "failed"]
Reason = Annotated[str, Field(max_length=2_000, description="Why, for the audit.")]


class Document(BaseModel):
    """One whose members are these and no others."""

    model_config = ConfigDict(extra="forbid")


class ProblemDocument(Document):
    """What is wrong, as RFC 9457 has it."""

    type: str = Field(description="The address of its explanation.")
    title: str
    status: int | None = None
    detail: str | None = None
    correlation_id: str | None = Field(None, description="That of the request, by which the logs find it.")


class CompensationDocument(Document):
    """How far the compensation of a step is."""

    state: Literal["uncalled", "owed", "started", "waiting", "done", "failed", "in_doubt", "lost"]
    started_at: datetime | None
    finished_at: datetime | None


class StepDocument(Document):
    """How far a step of a run is."""

    name: str
    state: Literal["uncalled", "started", "waiting", "done", "failed", "in_doubt", "kept", "recovering", "skipped"]
    started_at: datetime | None
    finished_at: datetime | None
    compensation: CompensationDocument | None = Field(description="None if the step has none.")


class WaitDocument(Document):
    """What a step, or its compensation, waits for."""

    step: str
    compensates: bool = Field(description="Whether it is the step's compensation that waits.")
    recovers: bool = Field(description="Whether it is the step's recovery that waits.")
    signal: str | None = Field(description="The name of the signal; None for a time.")
    since: datetime
    until: datetime | None


class RunSummary(Document):
    """A run, in a list."""

    saga_id: str
    saga: str
    status: Status
    owner: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    deadline: datetime | None


class RunDocument(RunSummary):
    """All that a reader is told of a run."""

    steps: list[StepDocument]
    waits_for: list[WaitDocument]
    context: dict[str, Any] = Field(description="Those of its values that the application shows.")
    error: ProblemDocument | None


class RunPage(Document):
    """A page of a list of runs, the newest first."""

    runs: list[RunSummary]
    next: str | None = Field(description="The cursor of the page that follows; None if none does.")


class AcceptedRun(Document):
    """A run that was started."""

    saga_id: str
    saga: str
    location: str = Field(description="Where its status is.")


class DecisionDocument(Document):
    """What became of a decision."""

    saga_id: str
    action: Literal["cancel", "retry", "resolve", "run-now", "signal"]
    status: Status = Field(description="The run's, after it.")
    message: str


class WebhookReceipt(Document):
    """That an event was recorded."""

    received: Literal[True]


class ProbeDocument(Document):
    """What a probe is told."""

    status: Literal["ok", "unavailable"]


class DecisionRequest(Document):
    """A decision about a run."""

    reason: Reason = ""


class ResolutionRequest(Document):
    """That a failed run was settled outside, and how."""

    settled: Literal["completed", "rolled_back"]
    reason: Annotated[str, Field(min_length=1, max_length=2_000, description="What was done.")]


class SignalRequest(Document):
    """A signal for a run."""

    payload: dict[str, Any] = Field(default_factory=dict, description="What the waiting step is given.")
    signal_id: str = Field("", max_length=200, description="Tells apart several signals of one name.")
    reason: Reason = ""

"""How attempts ended that were neither completed nor rolled back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from django_sagaz._stores.orm.rows import attempt_record
from django_sagaz.models import Attempt, Step
from sagaz_durable.stores.ended_leases import under_way
from sagaz_integration_core.contract.listings import AttemptRecord
from sagaz_integration_core.contract.records import AttemptOutcome, Phase

__all__ = ["end_attempt", "end_leases", "load_attempts"]


def end_attempt(
    connection: Any,
    run: Any,
    owner: str,
    outcome: AttemptOutcome,
    ended_at: datetime,
    detail: str | None = None,
) -> None:
    """Record how the attempt of a run ended that was read while it was leased to ``owner``."""
    Attempt.objects.using(connection.alias).create(
        saga_id=run.saga_id,
        attempt=run.attempt,
        owner=owner,
        began_at=run.leased_at or ended_at,
        ended_at=ended_at,
        outcome=outcome,
        detail=detail,
        under_way=_under_way(connection, run.saga_id),
    )


def end_leases(connection: Any, runs: Iterable[Any], outcome: AttemptOutcome) -> None:
    """Record that the leases of these runs ended, which they still have."""
    for run in runs:
        end_attempt(connection, run, run.lease_owner, outcome, run.lease_expires_at)


def load_attempts(connection: Any, saga_id: str) -> list[AttemptRecord]:
    """Return how a run's earlier attempts ended, the oldest first."""
    attempts = Attempt.objects.using(connection.alias).filter(saga_id=saga_id).order_by("attempt")
    return [attempt_record(attempt) for attempt in attempts]


def _under_way(connection: Any, saga_id: str) -> str | None:
    started = Step.objects.using(connection.alias).filter(saga_id=saga_id, status="started")
    return under_way(
        cast("list[tuple[str, Phase]]", started.order_by("started_at", "step").values_list("step", "phase"))
    )

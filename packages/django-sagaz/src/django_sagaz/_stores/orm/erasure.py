"""The erasure of what ended runs were given and have returned; their journals stay."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Exists, F, OuterRef, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from django_sagaz._stores.orm import webhooks
from django_sagaz._stores.orm.rows import Moment, stored
from django_sagaz._stores.orm.runs import unlocked
from django_sagaz.models import AuditEntry, OutboxEvent, RequestKey, Run, Signal, Step, Wait
from sagaz_integration_core.contract.decisions import Erasure
from sagaz_integration_core.contract.records import ERASED

__all__ = ["count_erasable", "erase"]

_WHOLE = "sagaz_run.fingerprint <> 'foreign' AND substr(sagaz_run.fingerprint, 1, 7) <> 'erased:'"
"""As SQL, without parameters: only so is it seen to be what the partial index holds."""


def erase(connection: Any, erasure: Erasure, limit: int) -> int:
    """Erase at most ``limit`` runs, those first that ended first; return how many."""
    moment, meant = Moment(connection), _meant(connection, erasure)
    saga_ids = list(meant.order_by("finished_at").values_list("saga_id", flat=True)[:limit])
    if not saga_ids:
        return 0
    # Locked by their keys alone: a search would lock all that it looks at.
    found = list(unlocked(connection, Run.objects.using(connection.alias).filter(pk__in=saga_ids)))
    return sum(_erase(connection, run, meant, erasure, moment) for run in found)


def _erase(connection: Any, run: Run, meant: Any, erasure: Erasure, moment: Moment) -> bool:
    using = connection.alias
    # The conditions again: it may have changed between its being found and its being locked.
    if not meant.filter(pk=run.saga_id, status=run.status).update(
        context={},
        fingerprint=ERASED + run.status,
        attempt=F("attempt") + 1,
        version=F("version") + 1,
        updated_at=moment.now,
    ):
        return False
    Step.objects.using(using).filter(saga_id=run.saga_id).update(result=None)
    OutboxEvent.objects.using(using).filter(saga_id=run.saga_id, status="sent").update(payload={}, headers={})
    Wait.objects.using(using).filter(saga_id=run.saga_id).update(payload=None)
    RequestKey.objects.using(using).filter(saga_id=run.saga_id).update(answer=None)
    webhooks.erase(connection, run.saga_id)
    signals = Signal.objects.using(using)
    signals.filter(saga_id=run.saga_id, taken_at=None).delete()
    signals.filter(taken_by=run.saga_id).update(fingerprint=ERASED)
    AuditEntry.objects.using(using).create(
        saga_id=run.saga_id,
        action="erase",
        actor=erasure.actor,
        reason=erasure.reason,
        found=run.status,
        status=run.status,
        at=moment.now,
    )
    return True


def count_erasable(connection: Any, erasure: Erasure) -> int:
    """Return how many runs an erasure means."""
    return int(_meant(connection, erasure).count())


def _meant(connection: Any, erasure: Erasure) -> Any:
    using = connection.alias
    unsent = OutboxEvent.objects.using(using).filter(saga_id=OuterRef("saga_id")).exclude(status="sent")
    whole = RawSQL(_WHOLE, (), output_field=BooleanField())  # noqa: S611 - a constant
    # Not the bare column: its index would be preferred, which leads to every run that has ended.
    runs = Run.objects.using(using).alias(ended_as=Coalesce("status", Value("")))
    runs = runs.filter(whole, ~Exists(unsent), finished_at__isnull=False, ended_as__in=erasure.statuses)
    if erasure.saga_ids is not None:
        runs = runs.filter(pk__in=erasure.saga_ids)
    return runs if erasure.before is None else runs.filter(finished_at__lt=stored(erasure.before))

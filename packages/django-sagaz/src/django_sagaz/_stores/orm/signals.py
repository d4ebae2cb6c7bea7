"""Signals that runs wait for, or will."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q

from django_sagaz._stores.orm.rows import Moment, as_text, json_text, signal_record, stored
from django_sagaz.models import AuditEntry, Run, Signal, Wait
from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.contract.waits import NewSignal, Sent, SignalFilter, SignalRecord

__all__ = ["count_untaken", "find_signals", "prune_signals", "send"]


def send(connection: Any, signals: Sequence[NewSignal]) -> list[Sent]:
    """Insert signals; an answer for each."""
    moment = Moment(connection)
    return [_send(connection, signal, moment) for signal in signals]


def _send(connection: Any, signal: NewSignal, moment: Moment) -> Sent:
    using = connection.alias
    known = Signal.objects.using(using).filter(pk=signal.id).values_list("fingerprint", flat=True)
    if (fingerprint := known.first()) is not None:
        return Sent(False, fingerprint)
    runs = Run.objects.using(using).filter(pk=signal.saga_id)
    if signal.saga_id is not None and runs.filter(status__in=FINISHED).exists():
        return Sent(False)
    if signal.version is not None and not runs.filter(version=signal.version).exists():
        return Sent(False)
    try:
        with transaction.atomic(using):
            Signal.objects.using(using).create(
                id=signal.id,
                name=signal.name,
                saga_id=signal.saga_id,
                key=signal.key,
                signal_id=signal.signal_id,
                payload=json_text(signal.payload),
                fingerprint=signal.fingerprint,
                created_at=moment.now,
            )
    except IntegrityError:
        # Somebody else was faster; with REPEATABLE READ only a lock shows what.
        return Sent(False, known.select_for_update().first())
    if signal.actor is not None:
        _note(connection, signal, moment)
    return Sent(True, signal.fingerprint)


def _note(connection: Any, signal: NewSignal, moment: Moment) -> None:
    using = connection.alias
    waits = Wait.objects.using(using).filter(name=signal.name, key=signal.key).values("saga_id")
    of_whom = {"pk__in": waits} if signal.saga_id is None else {"pk": signal.saga_id}
    run = Run.objects.using(using).filter(**of_whom).only("status").first()
    if run is not None:
        AuditEntry.objects.using(using).create(
            saga_id=run.pk, action="signal", actor=signal.actor, reason=signal.reason, found=run.status,
            status=run.status, at=moment.now,
        )  # fmt: skip


def find_signals(connection: Any, query: SignalFilter) -> list[SignalRecord]:
    """Return signals, the newest first."""
    signals = Signal.objects.using(connection.alias).order_by("-created_at", "-id")
    signals = signals.annotate(payload_text=as_text("payload")).defer("payload")
    if query.state is not None:
        signals = signals.filter(taken_at__isnull=query.state == "untaken")
    if query.name is not None:
        signals = signals.filter(name=query.name)
    if query.saga_id is not None:
        signals = signals.filter(Q(saga_id=query.saga_id) | Q(taken_by=query.saga_id))
    if query.before is not None:
        created_at, before = stored(query.before[0]), query.before[1]
        signals = signals.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=before))
    return [signal_record(signal) for signal in signals[: query.limit]]


def count_untaken(connection: Any) -> int:
    """Return how many signals nobody has taken."""
    return int(Signal.objects.using(connection.alias).filter(taken_at=None).count())


def prune_signals(connection: Any, taken_before: datetime, untaken_before: datetime, limit: int) -> int:
    """Delete old signals; return how many."""
    signals = Signal.objects.using(connection.alias)
    live = Run.objects.using(connection.alias).filter(pk=OuterRef("saga_id")).exclude(status__in=FINISHED)
    awaited = Wait.objects.using(connection.alias).filter(name=OuterRef("name"), key=OuterRef("key"))
    unwanted = Q(taken_at=None, created_at__lt=stored(untaken_before)) & ~Exists(live) & ~Exists(awaited)
    old = Q(taken_at__lt=stored(taken_before)) | unwanted
    ids = list(signals.filter(old).order_by("created_at").values_list("pk", flat=True)[:limit])
    return signals.filter(pk__in=ids).delete()[0]

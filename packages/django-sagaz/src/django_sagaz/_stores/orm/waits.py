"""What runs wait for: registered and left by their writes, and ended by their claims."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, Min, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from django_sagaz._stores.orm.rows import Moment, as_text, aware, json_text, stored, wait_record
from django_sagaz._stores.orm.runs import unlocked
from django_sagaz.models import Run, Signal, Step, Wait
from sagaz_durable.stores.refused_waits import refusal
from sagaz_integration_core.contract.records import RunWrite, resumed_by_claim
from sagaz_integration_core.contract.waits import WaitRecord, WaitWrite

__all__ = [
    "count_lost",
    "count_signalled",
    "end_timers",
    "forget_waits",
    "load_waits",
    "record_waits",
    "rouse",
    "rouse_lost",
    "see",
    "settle",
    "wait_ends_at",
]

_FRESH = timedelta(minutes=1)
"""For how long after it was first seen a signal that nobody waits for is looked at by claims: whoever begins to wait
later looks for it."""

_SETTLED = datetime(1970, 1, 2, tzinfo=UTC)
"""When one was seen that claims look at no more."""


def record_waits(connection: Any, write: RunWrite, moment: Moment) -> None:
    """Record what a write, which was accepted, tells of waits."""
    waits = Wait.objects.using(connection.alias)
    for step, phase in write.left_waits:
        waits.filter(saga_id=write.saga_id, step=step, phase=phase).delete()
    for step, phase in write.missed_waits:
        missed = waits.filter(saga_id=write.saga_id, step=step, phase=phase, outcome__in=("timeout", "refused"))
        missed.exclude(name="").delete()
    if write.stops_waiting:
        waits.filter(saga_id=write.saga_id, outcome=None).delete()
    for place, wait in enumerate(write.waits):
        _register(connection, write, wait, moment, moment.after(place / 1_000_000))


def _register(connection: Any, write: RunWrite, wait: WaitWrite, moment: Moment, at: datetime) -> None:
    waits = Wait.objects.using(connection.alias)
    place = {"saga_id": write.saga_id, "step": wait.step, "phase": wait.phase, "name": wait.name, "n": wait.n}
    if waits.filter(**place).exists():
        return
    until = None if wait.until is None else stored(wait.until)
    if wait.seconds is not None:
        until = moment.after(wait.seconds)
    try:
        with transaction.atomic(connection.alias):
            waits.create(**place, key=wait.key, until=until, created_at=at)
    except IntegrityError:
        first = waits.filter(name=wait.name, key=wait.key).values_list("saga_id", flat=True).first()
        payload = json_text(refusal(first or ""))
        refused = {"outcome": "refused", "attempt": write.attempt + 1, "payload": payload}
        waits.create(**place, until=until, created_at=at, **refused)


def wait_ends_at(connection: Any, write: RunWrite, deadline: datetime | None, moment: Moment) -> datetime | None:
    """Return when a run is due that waits from now on; None for not before a signal comes."""
    waits = Wait.objects.using(connection.alias).filter(saga_id=write.saga_id)
    open_ = waits.filter(outcome=None)
    if waits.filter(attempt__gt=write.attempt).exists() or open_.filter(Exists(_untaken(connection))).exists():
        return moment.now
    ends: datetime | None = open_.aggregate(first=Min("until"))["first"]
    by_deadline = deadline if write.release is not None and write.release.by_deadline else None
    return min((one for one in (ends, by_deadline) if one is not None), default=None)


def _untaken(connection: Any) -> Any:
    """Return the signals for the wait of an outer query that nobody has taken."""
    addressed = Q(saga_id=OuterRef("saga_id")) | Q(key=OuterRef("key"))
    return Signal.objects.using(connection.alias).filter(addressed, name=OuterRef("name"), taken_at=None)


def rouse(connection: Any, names: Collection[str], moment: Moment) -> None:
    """Make the waiting runs of these sagas due for which a signal is there; what is locked waits."""
    using = connection.alias
    reached = _fresh(connection, moment).annotate(reached=_reached(connection)).exclude(reached=None)
    saga_ids = set(reached.order_by().values_list("reached", flat=True))
    if not saga_ids:
        return
    # One that is due already keeps its place among the others.
    asleep = Q(available_at=None) | Q(available_at__gt=moment.now)
    runs = Run.objects.using(using).filter(asleep, pk__in=saga_ids, status="waiting", saga_name__in=list(names))
    found = [run.pk for run in unlocked(connection, runs.only("pk"))]
    Run.objects.using(using).filter(pk__in=found, status="waiting").update(available_at=moment.now)


def _waits_for(connection: Any) -> tuple[Any, Any]:
    """Return the open waits for the signal of an outer query: under its key, and of its run.

    Each is found by an index. One condition for both would have a database read all waits for each signal.
    """
    waits = Wait.objects.using(connection.alias).filter(name=OuterRef("name"), outcome=None).order_by()
    return waits.filter(key=OuterRef("key")), waits.filter(saga_id=OuterRef("saga_id"))


def _reached(connection: Any) -> Any:
    """Return the run that waits for the signal of an outer query."""
    of_key, of_run = (Subquery(waits.values("saga_id")[:1]) for waits in _waits_for(connection))
    return Coalesce(of_key, of_run)


def _fresh(connection: Any, moment: Moment) -> Any:
    """Return the signals that are new: from them one finds runs, for those that wait are many, and cost nothing."""
    lately = stored(moment.utc - _FRESH)
    return Signal.objects.using(connection.alias).filter(Q(seen_at=None) | Q(seen_at__gt=lately), taken_at=None)


def rouse_lost(connection: Any, steps: Mapping[str, Collection[str]]) -> int:
    """Make the runs of these sagas due that wait in a step which theirs has not; what is locked is left."""
    using = connection.alias
    found: list[str] = []
    for name, known in steps.items():
        lost = _lost(connection, known).filter(saga_id=OuterRef("saga_id"))
        runs = Run.objects.using(using).filter(Exists(lost), status="waiting", saga_name=name)
        found += [run.pk for run in unlocked(connection, runs.only("pk"))]
    return Run.objects.using(using).filter(pk__in=found, status="waiting").update(available_at=Moment(connection).now)


def count_lost(connection: Any, steps: Mapping[str, Collection[str]]) -> dict[tuple[str, str], int]:
    """Return how many runs of these sagas wait in a step which theirs has not, by saga and step."""
    found: dict[tuple[str, str], int] = {}
    for name, known in steps.items():
        runs = Run.objects.using(connection.alias).filter(pk=OuterRef("saga_id"), status="waiting", saga_name=name)
        lost = _lost(connection, known).filter(Exists(runs)).values_list("step").order_by()
        found |= {(name, step): count for step, count in lost.annotate(runs=Count("saga_id", distinct=True))}
    return found


def count_signalled(connection: Any) -> dict[str, tuple[int, float]]:
    """Return how many waiting runs have a signal that no claim has found, and the age of the oldest, by saga."""
    using, moment = connection.alias, Moment(connection)
    # One that is due already is counted with the others.
    asleep = Q(available_at=None) | Q(available_at__gt=moment.now)
    runs = Run.objects.using(using).filter(asleep, pk=OuterRef("reached"), status="waiting")
    sent = _fresh(connection, moment).annotate(reached=_reached(connection))
    sent = sent.annotate(saga=Subquery(runs.values("saga_name")[:1])).exclude(saga=None).order_by()
    rows = sent.values_list("saga").annotate(count=Count("reached", distinct=True), first=Min("created_at"))
    return {saga: (count, _age(moment, first)) for saga, count, first in rows}


def _age(moment: Moment, first: datetime) -> float:
    return (moment.utc - (aware(first) or moment.utc)).total_seconds()


def _lost(connection: Any, known: Collection[str]) -> Any:
    """Return the open waits of all other steps."""
    return Wait.objects.using(connection.alias).filter(outcome=None).exclude(step__in=list(known))


def see(connection: Any, moment: Moment) -> None:
    """Have claims look at signals that nobody waits for a minute longer, and then no more.

    Not only once: a transaction that began to wait may not have been visible yet. A minute later what nobody waits for
    is settled, which is written as a time long past.
    """
    using, settled = connection.alias, stored(_SETTLED)
    of_key, of_run = _waits_for(connection)
    untaken = Signal.objects.using(using).filter(taken_at=None)
    unawaited = untaken.filter(~Exists(of_key), ~Exists(of_run), seen_at=None)
    new = list(unawaited.values_list("pk", flat=True)[:1000])
    untaken.filter(pk__in=new).update(seen_at=moment.now)
    seen = untaken.filter(seen_at__gt=settled, seen_at__lte=stored(moment.utc - _FRESH))
    waiting = Run.objects.using(using).filter(pk=OuterRef("saga_id"), status="waiting")
    awaited = Exists(of_key.filter(Exists(waiting))) | Exists(of_run.filter(Exists(waiting)))
    again = list(seen.annotate(awaited=awaited).values_list("pk", "awaited")[:1000])
    untaken.filter(pk__in=[pk for pk, is_awaited in again if is_awaited]).update(seen_at=None)
    untaken.filter(pk__in=[pk for pk, is_awaited in again if not is_awaited]).update(seen_at=settled)


def settle(connection: Any, runs: Sequence[Any], moment: Moment) -> dict[str, list[WaitRecord]]:
    """Give the waits of runs that are claimed that are over their outcome, and have their calls go on.

    Returns:
        All waits that these runs have.
    """
    attempts = {run.pk: run.attempt + 1 for run in runs if run.attempt}
    if not attempts:
        return {}
    served: set[tuple[str, str]] = set()
    for wait in Wait.objects.using(connection.alias).filter(saga_id__in=attempts, outcome=None).order_by(*_ORDER):
        place = (wait.saga_id, wait.name)
        if place in served and _signals_for(connection, wait).exists():
            # One of a name; others whose signal is there, too, have come to no end either: the next claim takes it.
            continue
        signal = None if place in served or not wait.name else _take(connection, wait, moment)
        if signal is not None:
            served.add(place)
            _end(connection, wait, attempts[wait.saga_id], "signal", signal)
        elif wait.until is not None and wait.until <= moment.now:
            _end(connection, wait, attempts[wait.saga_id], "timeout", None)
    waits = _waits_of(connection, list(attempts))
    for run in runs:
        for step, phase in resumed_by_claim(waits.get(run.pk, ()), run.attempt + 1, run.direction):
            entry = Step.objects.using(connection.alias).filter(saga_id=run.pk, step=step, phase=phase)
            entry.filter(status="waiting").update(
                status="started", attempt=run.attempt + 1, started_at=moment.now, finished_at=None
            )
    return waits


_ORDER = ("created_at", "n")


def _signals_for(connection: Any, wait: Wait) -> Any:
    """Return the signals for a wait that nobody has taken."""
    addressed = Q(saga_id=wait.saga_id) if wait.key is None else Q(saga_id=wait.saga_id) | Q(key=wait.key)
    return Signal.objects.using(connection.alias).filter(addressed, name=wait.name, taken_at=None)


def _take(connection: Any, wait: Wait, moment: Moment) -> str | None:
    """Take the oldest signal for a wait, and return its payload."""
    untaken = _signals_for(connection, wait).order_by("created_at", "pk")
    for its_id, payload in untaken.values_list("pk", as_text("payload")):
        # The condition again: without row locks somebody else may have been faster.
        mine = Signal.objects.using(connection.alias).filter(pk=its_id, taken_at=None)
        by = {"taken_by": wait.saga_id, "taken_step": wait.step, "taken_phase": wait.phase}
        if mine.update(taken_at=moment.now, payload=None, **by):
            return str(payload)
    return None


def _end(connection: Any, wait: Wait, attempt: int, outcome: str, payload: str | None) -> None:
    Wait.objects.using(connection.alias).filter(
        saga_id=wait.saga_id, step=wait.step, phase=wait.phase, name=wait.name, n=wait.n
    ).update(outcome=outcome, attempt=attempt, payload=json_text(payload), key=None)


def load_waits(connection: Any, *saga_ids: str) -> list[WaitRecord]:
    """Return the waits of these runs, each one's in the order in which they were registered."""
    return [wait for waits in _waits_of(connection, saga_ids).values() for wait in waits]


def _waits_of(connection: Any, saga_ids: Iterable[str]) -> dict[str, list[WaitRecord]]:
    """Return the waits of these runs, in the order in which they were registered."""
    found: dict[str, list[WaitRecord]] = defaultdict(list)
    waits = Wait.objects.using(connection.alias).filter(saga_id__in=list(saga_ids)).order_by(*_ORDER)
    for wait in waits.annotate(payload_text=as_text("payload")).defer("payload"):
        found[wait.saga_id].append(wait_record(wait))
    return found


def end_timers(connection: Any, saga_id: str, moment: Moment) -> None:
    """Have the sleeps of a run be over now."""
    Wait.objects.using(connection.alias).filter(saga_id=saga_id, outcome=None, name="").update(until=moment.now)


def forget_waits(connection: Any, saga_ids: Sequence[str], **only: Any) -> None:
    """Delete what runs wait for."""
    Wait.objects.using(connection.alias).filter(saga_id__in=list(saga_ids), **only).delete()

"""The filters of the lists, each along an index, or told that it has none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.values import present
from django_sagaz.models import OutboxEvent, Run, Webhook

__all__ = [
    "EventStatusFilter",
    "OutcomeFilter",
    "SagaFilter",
    "ScannedFilter",
    "SignalFilter",
    "StartedFilter",
    "StatusFilter",
]

Lookups = Any
"""Values and what they are called: strings, or translations that wait for the reader's language."""

_RECENT = 1_000
"""How many of the newest runs are asked for names that are not registered (any more)."""


class ScannedFilter(SimpleListFilter):
    """A filter that no index knows: the list looks through a bounded number of rows for each page."""

    def condition(self) -> Q | None:
        """Return what the rows are looked through for."""
        raise NotImplementedError

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave the rows to look through as they are."""
        return queryset


class StatusFilter(SimpleListFilter):
    """By the status of runs."""

    title = _("status")  # type: ignore[assignment,unused-ignore]
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the statuses."""
        return Run.Status.choices

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of this status."""
        value = self.value()
        return queryset if value is None else queryset.filter(status=_one_of(Run.Status.values, value))


class SagaFilter(ScannedFilter):
    """By the saga's name."""

    title = _("saga")  # type: ignore[assignment,unused-ignore]
    parameter_name = "saga"

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the names that are registered, and those of the newest runs."""
        newest = model_admin.get_queryset(request).order_by("-created_at", "-saga_id")
        names = set(newest.values_list("saga_name", flat=True)[:_RECENT])
        names |= {saga.name for saga in current_project().registry}
        if chosen := self.value():
            names.add(chosen)
        return [(name, name) for name in sorted(names)]

    def condition(self) -> Q | None:
        """Return what the runs are looked through for."""
        value = self.value()
        if value is not None and "\0" in value:
            raise IncorrectLookupParameters(value)
        return Q(saga_name=value) if value else None


class StartedFilter(SimpleListFilter):
    """By the time at which a row was made."""

    title = _("start")  # type: ignore[assignment,unused-ignore]
    parameter_name = "created"

    choices_of_time: dict[str, tuple[str | Promise, str, timedelta]] = {  # noqa: RUF012 - nobody changes it
        "hour": (_("In the past hour"), "gte", timedelta(hours=1)),
        "day": (_("In the past 24 hours"), "gte", timedelta(days=1)),
        "week": (_("In the past 7 days"), "gte", timedelta(days=7)),
        "month": (_("In the past 30 days"), "gte", timedelta(days=30)),
        "before": (_("Longer than 30 days ago"), "lt", timedelta(days=30)),
    }

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the spans of time."""
        return [(key, label) for key, (label, _comparison, _age) in self.choices_of_time.items()]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of this span of time."""
        value = self.value()
        if value is None:
            return queryset
        _label, comparison, age = self.choices_of_time[_one_of(self.choices_of_time, value)]
        return queryset.filter(**{f"created_at__{comparison}": present(queryset.db) - age})


class EventStatusFilter(ScannedFilter):
    """By the status of events."""

    title = _("status")  # type: ignore[assignment,unused-ignore]
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the statuses."""
        return OutboxEvent.Status.choices

    @property
    def leading(self) -> tuple[str, ...]:
        """What to order by first, for the sake of the index: for events that are not pending it is NULL."""
        return ("available_at",) if self.value() in _SETTLED else ()

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the events of a status that the index can go through by their ids."""
        value = self.value()
        if value is not None:
            _one_of(OutboxEvent.Status.values, value)
        return queryset.filter(status=value, available_at=None) if value in _SETTLED else queryset

    def condition(self) -> Q | None:
        """Return what the newest events are looked through for: the index has those that are pending by their time."""
        return Q(status="pending") if self.value() == "pending" else None


class SignalFilter(SimpleListFilter):
    """By whether somebody has taken them; those that nobody has are shown first, and a search looks at all."""

    title = _("status")  # type: ignore[assignment,unused-ignore]
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the states besides the first."""
        self._searches = bool(request.GET.get(SEARCH_VAR, "").strip())
        return [("taken", _("Taken"))]

    def choices(self, changelist: Any) -> Any:
        """Return the links: in place of all, those that nobody has taken."""
        first, *others = super().choices(changelist)
        yield {**first, "display": _("All that were found") if self._searches else _("Not taken")}
        yield from others

    @property
    def keyset(self) -> tuple[str, ...] | None:
        """What to order by, for the sake of the index: what was taken, by when it was."""
        return ("taken_at", "created_at", "id") if self.value() is not None else None

    @property
    def leading(self) -> tuple[str, ...]:
        """What to order by first, for the sake of the index: for those that nobody has taken it is NULL."""
        return () if self.value() is not None or self._searches else ("taken_at",)

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the signals of this state."""
        value = self.value()
        if value is not None:
            _one_of(("taken",), value)
            return queryset.filter(taken_at__isnull=False)
        return queryset if self._searches else queryset.filter(taken_at=None)


class OutcomeFilter(SimpleListFilter):
    """By what became of the events of webhooks."""

    title = _("outcome")  # type: ignore[assignment,unused-ignore]
    parameter_name = "outcome"

    def lookups(self, request: Any, model_admin: Any) -> Lookups:
        """Return the outcomes."""
        return Webhook.Outcome.choices

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the events with this outcome."""
        value = self.value()
        return queryset if value is None else queryset.filter(outcome=_one_of(Webhook.Outcome.values, value))


_SETTLED = ("sent", "dead")


def _one_of(known: Iterable[str], value: str) -> str:
    if value not in known:
        raise IncorrectLookupParameters(value)
    return value

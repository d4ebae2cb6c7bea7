"""Lists that read one page of an index, however many rows there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_sagaz.admin.filters import ScannedFilter

__all__ = ["SCANNED", "KeysetChangeList"]

SCANNED = 20_000
"""How many rows are looked through for one page of a filter that no index knows."""

_OLDER, _NEWER = "older", "newer"


class KeysetChangeList(ChangeList):
    """A page that begins where the last one ended: nothing is counted, and no rows are skipped over.

    Attributes:
        newest, newer, older: The links to other pages, or None.
        scanned: After how many rows the search for a page's rows was given up, for now; None if it was not.
    """

    def get_ordering(self, request: Any, queryset: QuerySet[Any]) -> list[Any]:
        """Return the one order that there is, whatever the address says."""
        return [f"-{key}" for key in self._keys]

    def get_results(self, request: Any) -> None:
        """Read the page."""
        start, self._backwards = self._start(request.GET.get(PAGE_VAR))
        end = self._end(start)
        rows = self._rows(start, end)
        more = len(rows) > self.list_per_page
        rows = rows[: self.list_per_page]
        last = _values(rows[-1], self._keyset) if more else end
        if self._backwards:
            rows.reverse()
        self._link(rows, start, last)
        self.scanned = SCANNED if end is not None and not more else None
        # Without totals, the templates show none, and offer no selection beyond the page.
        self.result_list = rows
        self.result_count = self.full_result_count = len(rows)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    @property
    def _keyset(self) -> tuple[str, ...]:
        admin: Any = self.model_admin
        of_filters = (getattr(spec, "keyset", None) for spec in self.filter_specs)
        return next((keyset for keyset in of_filters if keyset), tuple(admin.keyset))

    @property
    def _keys(self) -> tuple[str, ...]:
        leading = [key for spec in self.filter_specs for key in getattr(spec, "leading", ())]
        return (*leading, *self._keyset)

    def _rows(self, start: list[Any] | None, end: list[Any] | None) -> list[Any]:
        queryset = self._ordered(self.queryset, start)
        for condition in self._scanned_for():
            queryset = queryset.filter(condition)
        if end is not None:
            queryset = queryset.filter(_beyond(self._keyset, end, not self._backwards, inclusive=True))
        return list(queryset[: self.list_per_page + 1])

    def _end(self, start: list[Any] | None) -> list[Any] | None:
        """Return where to give up for now, if a filter has to look at rows that it does not show."""
        if not self._scanned_for():
            return None
        seen = self._ordered(self.queryset, start).values_list(*self._keyset)
        found = list(seen[SCANNED - 1 : SCANNED])
        return list(found[0]) if found else None

    def _scanned_for(self) -> list[Q]:
        conditions = [spec.condition() for spec in self.filter_specs if isinstance(spec, ScannedFilter)]
        return [condition for condition in conditions if condition is not None]

    def _ordered(self, queryset: QuerySet[Any], start: list[Any] | None) -> QuerySet[Any]:
        if start is not None:
            queryset = queryset.filter(_beyond(self._keyset, start, self._backwards))
        return queryset.order_by(*self._keys) if self._backwards else queryset

    def _link(self, rows: list[Any], start: list[Any] | None, last: list[Any] | None) -> None:
        keys = self._keyset
        first = _values(rows[0], keys) if rows and start is not None else None
        final = _values(rows[-1], keys) if rows else None
        older, newer = (final, last) if self._backwards else (last, first)
        self.older = self._link_to(_OLDER, older)
        self.newer = self._link_to(_NEWER, newer)
        self.newest = None if start is None else self.get_query_string(remove=[PAGE_VAR])

    def _link_to(self, direction: str, values: list[Any] | None) -> str | None:
        if values is None:
            return None
        texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return self.get_query_string({PAGE_VAR: f"{direction}{json.dumps(texts, separators=(',', ':'))}"})

    def _start(self, given: str | None) -> tuple[list[Any] | None, bool]:
        """Read where the page begins, and whether it is read backwards."""
        if not given or given.isdigit():
            return None, False
        backwards = given.startswith(_NEWER)
        if not backwards and not given.startswith(_OLDER):
            raise IncorrectLookupParameters(given)
        try:
            values = json.loads(given[len(_NEWER) :])
            return [self._read(key, value) for key, value in zip(self._keyset, values, strict=True)], backwards
        except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
            raise IncorrectLookupParameters(given) from error

    def _read(self, key: str, given: Any) -> Any:
        field: Any = self.model._meta.get_field(key)  # noqa: SLF001 - Django documents it
        value = field.to_python(given)
        if value is None:
            raise ValueError(key)
        if isinstance(value, datetime):
            return _in_this_project(value)
        if "\0" in str(value):
            raise ValueError(key)
        str(value).encode()
        return value


def _in_this_project(moment: datetime) -> datetime:
    if timezone.is_naive(moment) == settings.USE_TZ:
        raise ValueError("a time with the offset that this project has")
    return moment.astimezone(timezone.get_default_timezone()) if settings.USE_TZ else moment


def _values(row: Any, keys: Sequence[str]) -> list[Any]:
    return [getattr(row, key) for key in keys]


def _beyond(keys: Sequence[str], values: Sequence[Any], backwards: bool, *, inclusive: bool = False) -> Q:
    """Return what comes after these values, in descending order or (backwards) in ascending."""
    comparison = "gt" if backwards else "lt"
    first, rest = keys[0], keys[1:]
    if not rest:
        return Q(**{f"{first}__{comparison}{'e' * inclusive}": values[0]})
    same = Q(**{first: values[0]}) & _beyond(rest, values[1:], backwards, inclusive=inclusive)
    # The first comparison alone is what an index understands.
    return Q(**{f"{first}__{comparison}e": values[0]}) & (Q(**{f"{first}__{comparison}": values[0]}) | same)

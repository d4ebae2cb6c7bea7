"""What all pages have in common: they show what the store holds, and change none of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import ShowFacets
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import Media

from django_sagaz._project.current import current_project
from django_sagaz.admin.changelist import KeysetChangeList
from sagaz_integration_core.errors import SagazError

__all__ = ["ReadOnlyAdmin"]


def _alias() -> str | None:
    """Return the alias that runs are kept in; None when it is no database of Django's, or the settings are wrong."""
    try:
        return current_project().alias
    except SagazError:
        # manage.py check tells what is wrong; the other pages of the admin are not to suffer from it.
        return None


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg,unused-ignore]
    """Lists rows without counting them, and lets nobody add, change or delete one.

    While runs are kept outside of Django's databases, nobody has the permission to see its pages.
    """

    keyset: tuple[str, ...]
    """The fields that the list is ordered by, descending: together unique, and indexed."""

    list_per_page = 100
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()

    @property
    def media(self) -> Media:
        """What the pages load."""
        return super().media + Media(css={"all": ["django_sagaz/admin.css"]})

    def get_changelist(self, request: Any, **kwargs: Any) -> type[KeysetChangeList]:
        """Return the list that counts nothing."""
        return KeysetChangeList

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        """Return the rows of the database that runs are kept in."""
        return super().get_queryset(request).using(_alias())

    def whole(self, request: Any) -> QuerySet[Any]:
        """Return the rows with what a row's own page shows."""
        return self.get_queryset(request)

    def get_object(self, request: Any, object_id: str, from_field: str | None = None) -> Any:
        """Return one row, to those only who may see it: Django asks for their permission later."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        # PostgreSQL's text has no NUL.
        if "\0" in object_id:
            return None
        try:
            return self.whole(request).get(pk=object_id)
        except (self.model.DoesNotExist, ValidationError, ValueError):
            return None

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """Allow the list's own filters only: by any other, masked values could be guessed letter by letter."""
        return lookup in {getattr(given, "parameter_name", None) for given in self.list_filter}

    def to_field_allowed(self, request: Any, to_field: str) -> bool:
        """Allow none."""
        return False

    def has_module_permission(self, request: Any) -> bool:
        """Whether the index shows the application."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Whether this user sees anything."""
        return _alias() is not None and super().has_view_permission(request, obj)

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody edits one by hand."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody deletes one by hand."""
        return False

"""The page that asks before anything is done: what it has in common for runs and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext

from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.admin.values import visible
from sagaz_durable.problem_types import Kind, kind_of
from sagaz_integration_core.errors import SagazError

__all__ = ["AskingAdmin", "chosen", "problem_with"]

_AT_ONCE = 100
"""How many rows one decision is about at most: a page of the list; for more there are the commands."""

_ID = 255


def chosen(request: HttpRequest) -> list[str]:
    """Return the rows that were selected on the list, each once, whatever else the list says of other pages."""
    return list(dict.fromkeys(request.POST.getlist(ACTION_CHECKBOX_NAME)))


def problem_with(keys: Sequence[str]) -> str | None:
    """Say why these cannot be what a decision is about."""
    if not keys or any("\0" in key or not 0 < len(key) <= _ID for key in keys):
        return gettext("Nothing was selected.")
    if len(keys) > _AT_ONCE:
        given = {"count": f"{len(keys):,}", "most": _AT_ONCE}
        return (
            gettext(
                "%(count)s were selected, and nothing was done: here, a decision is about at most %(most)s. "
                "The commands of manage.py take any number."
            )
            % given
        )
    return None


class AskingAdmin(ReadOnlyAdmin):
    """Asks, and leads back to where the user came from."""

    def refusal(self, request: HttpRequest, keys: Sequence[str], *, may: bool) -> HttpResponse | None:
        """Return the answer to a request that decides nothing; None to one that may.

        Raises:
            PermissionDenied: This user may not.
        """
        if not may:
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if problem := problem_with(keys):
            self.message_user(request, problem, messages.ERROR)
            return self.leave(request)
        return None

    def ask_page(
        self,
        request: HttpRequest,
        *,
        title: str,
        verb: str | Promise,
        explanation: str | Promise,
        address: str,
        columns: tuple[str, str],
        rows: Sequence[Mapping[str, Any]],
        form: forms.Form | None = None,
    ) -> HttpResponse:
        """Return the page that asks; it posts the rows' keys again, and ``decided``, to an address."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "original": title,
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "verb": verb,
            "explanation": explanation,
            "address": address,
            "columns": columns,
            "rows": rows,
            "possible": any(row["done"] for row in rows),
            "form": form,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "filters": request.POST.get("filters", request.GET.urlencode()),
            "origin": request.POST.get("origin", "list"),
            "back": self.back(request),
        }
        request.current_app = self.admin_site.name  # type: ignore[attr-defined,unused-ignore]
        return TemplateResponse(request, "admin/django_sagaz/ask.html", context)

    def tell_problem(self, request: HttpRequest, text: str, kind: Kind | None, level: int = messages.ERROR) -> None:
        """Tell the user what is wrong, with a link to where that kind of problem is explained."""
        if kind is None:
            self.message_user(request, text, level)
            return
        link = format_html('<a href="{}">{}</a>', kind.address, gettext("What this means"))
        self.message_user(request, format_html("{} {}", text, link), level)

    def tell_error(self, request: HttpRequest, error: SagazError) -> None:
        """Do so of an error."""
        self.tell_problem(request, visible(error), kind_of(error))

    def leave(self, request: HttpRequest) -> HttpResponse:
        """Lead back."""
        return HttpResponseRedirect(self.back(request))

    def back(self, request: HttpRequest) -> str:
        """Return where the user came from: a row's own page, or the list with its filters."""
        keys = chosen(request)
        if request.POST.get("origin") == "page" and len(keys) == 1 and problem_with(keys) is None:
            return self.address("change", quote(keys[0]))
        # Parsed and written anew, so that it can be nothing but a query.
        filters = QueryDict(request.POST.get("filters", request.GET.urlencode())).urlencode()
        return f"{self.address('changelist')}{'?' * bool(filters)}{filters}"

    def address(self, view: str, *args: str) -> str:
        """Return the address of one of this model's views."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=args, current_app=self.admin_site.name)

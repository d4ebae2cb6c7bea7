"""The list of runs, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.sending import Sending
from django_sagaz.admin.filters import SagaFilter, StartedFilter, StatusFilter
from django_sagaz.admin.page import run_page
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.admin.search import FOUND, found_runs
from django_sagaz.admin.values import LOADED, json_size, json_text, time_text, visible
from django_sagaz.admin.waiting import load_waits, sleeps
from django_sagaz.models import Run

__all__ = ["RunAdmin"]

_ERROR = 120


class RunAdmin(Sending, ReadOnlyAdmin):
    """Shows runs to those who may view them, and lets those who may decide about them and send them signals."""

    keyset = ("created_at", "saga_id")
    list_display = ("status_shown", "saga_shown", "id_shown", "created", "finished", "attempt", "failures", "why")
    list_display_links = ("id_shown",)
    list_filter = (StatusFilter, StartedFilter, SagaFilter)
    # Not looked at: it makes the search box appear.
    search_fields = ("saga_id",)
    search_help_text = _("The beginning of a saga id, or a whole correlation id, owner or saga's name.")
    actions = ("retry", "cancel", "run_now", "resolve")
    fields = ()
    change_form_template = "admin/django_sagaz/run/page.html"

    @admin.display(description=_("status"))
    def status_shown(self, run: Any) -> str:
        """Show the status with its colour."""
        return format_html(
            '<span class="sagaz-status sagaz-is-{}">{}</span>', run.status.replace("_", ""), run.get_status_display()
        )

    @admin.display(description=_("saga"))
    def saga_shown(self, run: Run) -> str:
        """Show the saga's name."""
        return visible(run.saga_name)

    @admin.display(description=_("saga id"))
    def id_shown(self, run: Run) -> str:
        """Show the saga_id."""
        return visible(run.saga_id)

    @admin.display(description=_("created"))
    def created(self, run: Run) -> str:
        """Show when it was started."""
        return time_text(run.created_at)

    @admin.display(description=_("finished"), empty_value="")
    def finished(self, run: Run) -> str:
        """Show when it ended."""
        return time_text(run.finished_at)

    @admin.display(description=_("error"), empty_value="")
    def why(self, run: Any) -> str:
        """Show how the error begins."""
        error = visible(run.error_start or "")
        return f"{error[:_ERROR]}…" if len(error) > _ERROR else error

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the runs, without what is long."""
        runs = super().get_queryset(request).defer("context", "error")
        return runs.annotate(error_start=Left("error", _ERROR + 1))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the runs that a search finds; see `found_runs`."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = found_runs(self.get_queryset(request), term)
        if len(found) == FOUND and request.method == "GET":
            text = _("This finds more than %(count)s runs, and not all are listed. Search for more of a saga id.")
            self.message_user(request, text % {"count": FOUND}, messages.WARNING)
        return queryset.filter(pk__in=found), False

    def whole(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the runs with their errors, and with their contexts as text unless that is too long."""
        runs = super().get_queryset(request).defer("context").annotate(context_size=json_size("context"))
        return runs.annotate(context_text=json_text("context", LOADED))

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with those of decisions and signals first: what follows them takes any."""
        view = self.admin_site.admin_view
        return [
            path("decide/<str:action>/", view(self.decide_view), name="django_sagaz_run_decide"),
            path("signal/", view(self.signal_view), name="django_sagaz_run_signal"),
            *super().get_urls(),
        ]

    def render_change_form(self, request: Any, context: Any, *args: Any, **given: Any) -> Any:
        """Show the page of a run."""
        obj, project = given["obj"], current_project()
        events, signals = (request.user.has_perm(f"django_sagaz.view_{what}") for what in ("outboxevent", "signal"))
        waits = load_waits(project, obj.pk)
        context |= run_page(project, obj, waits, events=events, signals=signals)
        context |= {"title": visible(obj.saga_name), "subtitle": visible(obj.saga_id)}
        context["buttons"] = self.buttons(request, obj, sleeps=sleeps(waits))
        return super().render_change_form(request, context, *args, **given)

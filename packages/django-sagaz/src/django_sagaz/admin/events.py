"""The list of events in the outbox, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_sagaz.admin.filters import EventStatusFilter
from django_sagaz.admin.page import shown_value
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.admin.search import found_events
from django_sagaz.admin.values import LOADED, json_size, json_text, time_text, visible
from django_sagaz.models import OutboxEvent, Run
from django_sagaz.project import current_project
from sagaz_integration_core.redaction import secret_keys

__all__ = ["OutboxEventAdmin"]

_ERROR = 120


class OutboxEventAdmin(ReadOnlyAdmin):
    """Shows the events that wait for a broker, were sent, or were set aside, to those who may view them."""

    keyset = ("id",)
    list_display = ("status_shown", "topic_shown", "event_shown", "saga_id_shown", "attempts", "created", "why")
    list_display_links = ("event_shown",)
    list_filter = (EventStatusFilter,)
    # Not looked at: it makes the search box appear.
    search_fields = ("event_id",)
    search_help_text = _("The beginning of an event id, or a whole saga id.")
    fields = ()
    change_form_template = "admin/django_sagaz/outboxevent/page.html"

    @admin.display(description=_("status"))
    def status_shown(self, event: Any) -> str:
        """Show the status with its colour."""
        return format_html('<span class="sagaz-status sagaz-is-{}">{}</span>', event.status, event.get_status_display())

    @admin.display(description=_("topic"))
    def topic_shown(self, event: OutboxEvent) -> str:
        """Show the topic."""
        return visible(event.topic)

    @admin.display(description=_("event id"))
    def event_shown(self, event: OutboxEvent) -> str:
        """Show the event_id."""
        return visible(event.event_id)

    @admin.display(description=_("saga id"))
    def saga_id_shown(self, event: OutboxEvent) -> str:
        """Show the run that it tells of."""
        return visible(event.saga_id)

    @admin.display(description=_("created"))
    def created(self, event: OutboxEvent) -> str:
        """Show when it was written."""
        return time_text(event.created_at)

    @admin.display(description=_("error"), empty_value="")
    def why(self, event: Any) -> str:
        """Show how the error begins."""
        error = visible(event.error_start or "")
        return f"{error[:_ERROR]}…" if len(error) > _ERROR else error

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the events, without what is long."""
        events = super().get_queryset(request).defer("payload", "headers", "error")
        return events.annotate(error_start=Left("error", _ERROR + 1))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the events that a search finds; see `found_events`."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(pk__in=found_events(self.get_queryset(request), term)), False

    def whole(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the events with what their pages show."""
        events = super().get_queryset(request).defer("payload", "headers")
        for field in ("payload", "headers"):
            events = events.annotate(**{f"{field}_size": json_size(field)})
            events = events.annotate(**{f"{field}_text": json_text(field, LOADED)})
        return events

    def render_change_form(self, request: Any, context: Any, *args: Any, **given: Any) -> Any:
        """Show the page of an event."""
        obj, project = given["obj"], current_project()
        is_secret = secret_keys(project.settings.redact_keys)
        context |= {
            "title": visible(obj.topic),
            "subtitle": visible(obj.event_id),
            "event": obj,
            "facts": _facts(obj),
            "error": visible(obj.error) if obj.error else "",
            "payload_shown": shown_value(obj.payload_text, obj.payload_size, is_secret),
            "headers_shown": shown_value(obj.headers_text, obj.headers_size, is_secret),
            "run": Run.objects.using(project.alias).only("saga_name").filter(pk=obj.saga_id).first()
            if request.user.has_perm("django_sagaz.view_run")
            else None,
        }
        return super().render_change_form(request, context, *args, **given)


def _facts(event: OutboxEvent) -> list[tuple[str, str]]:
    facts = [
        (gettext("Event id"), visible(event.event_id)),
        (gettext("Topic"), visible(event.topic)),
        (gettext("Saga id"), visible(event.saga_id)),
        (gettext("Attempts"), str(event.attempts)),
        (gettext("Created"), time_text(event.created_at, zone=True)),
        (gettext("Sent"), time_text(event.sent_at, zone=True)),
        (gettext("Due"), time_text(event.available_at, zone=True)),
    ]
    return [fact for fact in facts if fact[1]]

"""The list of events in the outbox, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._execution.ask_store import ask
from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.confirmation import AskingAdmin, chosen, problem_with
from django_sagaz.admin.filters import EventStatusFilter
from django_sagaz.admin.search import found_events
from django_sagaz.admin.values import LOADED, json_size, json_text, shown_value, time_text, visible
from django_sagaz.models import OutboxEvent, Run
from sagaz_durable.problem_types import EVENT_NOT_SET_ASIDE
from sagaz_durable.redaction import secret_keys
from sagaz_integration_core.errors import SagazError

__all__ = ["OutboxEventAdmin"]

_ERROR = 120

_KEY = 18
"""How many digits the number of an event has at most."""


class OutboxEventAdmin(AskingAdmin):
    """Shows the events that wait for a broker, were sent, or were set aside, and lets people retry the last."""

    keyset = ("id",)
    list_display = ("status_shown", "topic_shown", "event_shown", "saga_id_shown", "attempts", "created", "why")
    list_display_links = ("event_shown",)
    list_filter = (EventStatusFilter,)
    # Not looked at: it makes the search box appear.
    search_fields = ("event_id",)
    search_help_text = _("The beginning of an event id, or a whole saga id.")
    fields = ()
    actions = ("retry",)
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

    @admin.action(description=_("Retry selected events"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to retry."""
        return self.retry_view(request)

    def has_retry_permission(self, request: Any) -> bool:
        """Whether this user may retry events."""
        return self.has_view_permission(request) and request.user.has_perm("django_sagaz.retry_outboxevent")

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of the retry first: what follows it takes any."""
        view = self.admin_site.admin_view(self.retry_view)
        return [path("retry/", view, name="django_sagaz_outboxevent_retry"), *super().get_urls()]

    def retry_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and then publish again what was set aside."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        keys = [key for key in chosen(request) if key.isdecimal() and len(key) <= _KEY]
        problem = problem_with(keys)
        events = [] if problem else list(self.get_queryset(request).filter(pk__in=keys).order_by("pk"))
        if not events:
            self.message_user(request, problem or problem_with(()) or "", messages.ERROR)
            return self.leave(request)
        if "decided" in request.POST:
            self._retry(request, events)
            return self.leave(request)
        title = ngettext("Retry %(count)s event?", "Retry %(count)s events?", len(events)) % {"count": len(events)}
        return self.ask_page(
            request,
            title=title,
            verb=_("Retry"),
            explanation=_("An event that was set aside waits for the broker again, with no attempts counted."),
            address=self.address("retry"),
            columns=(gettext("Event id"), gettext("Topic")),
            rows=[_row(event) for event in events],
        )

    def _retry(self, request: HttpRequest, events: list[Any]) -> None:
        try:
            event_ids = [event.event_id for event in events]
            retried = set(ask(current_project(), lambda store: store.retry_events(event_ids)))
        except SagazError as error:
            self.tell_error(request, error)
            return
        for event in events:
            done = event.event_id in retried
            if done:
                self.log_change(request, event, gettext("Retry"))
            text = gettext("It is published again.") if done else _refusal()
            level = messages.SUCCESS if done else messages.WARNING
            kind = None if done else EVENT_NOT_SET_ASIDE
            self.tell_problem(request, f"{visible(event.event_id)}: {text}", kind, level)

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

    def _buttons(self, request: HttpRequest, event: Any) -> list[dict[str, str]]:
        if event.status != "dead" or not self.has_retry_permission(request):
            return []
        return [{"verb": gettext("Retry"), "url": self.address("retry"), "name": "retry"}]

    def render_change_form(self, request: Any, context: Any, *args: Any, **given: Any) -> Any:
        """Show the page of an event."""
        obj, project = given["obj"], current_project()
        is_secret = secret_keys(project.settings.redact_keys)
        context |= {
            "title": visible(obj.topic),
            "subtitle": visible(obj.event_id),
            "event": obj,
            "key": str(obj.pk),
            "buttons": self._buttons(request, obj),
            "facts": _facts(obj),
            "error": visible(obj.error) if obj.error else "",
            "payload_shown": shown_value(obj.payload_text, obj.payload_size, is_secret),
            "headers_shown": shown_value(obj.headers_text, obj.headers_size, is_secret),
            "run": Run.objects.using(project.alias).only("saga_name").filter(pk=obj.saga_id).first()
            if request.user.has_perm("django_sagaz.view_run")
            else None,
        }
        return super().render_change_form(request, context, *args, **given)


def _row(event: Any) -> dict[str, Any]:
    done = event.status == "dead"
    return {
        "row": event,
        "status": event.status,
        "status_shown": event.get_status_display(),
        "key": str(event.pk),
        "shown": visible(event.event_id),
        "name": visible(event.topic),
        "done": done,
        "message": gettext("It is published again.") if done else _refusal(),
    }


def _refusal() -> str:
    return gettext("Only an event that was set aside is retried.")


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

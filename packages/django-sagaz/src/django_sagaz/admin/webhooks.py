"""The list of events that were delivered as webhooks, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.replaying import Replaying
from django_sagaz.admin.filters import OutcomeFilter
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.admin.search import found_webhooks
from django_sagaz.admin.values import LOADED, json_size, json_text, shown_value, time_text, visible
from django_sagaz.models import AuditEntry, Run, Webhook
from sagaz_durable.redaction import secret_keys
from sagaz_integration_core.contract.webhooks import webhook_subject

__all__ = ["WebhookAdmin"]


class WebhookAdmin(Replaying, ReadOnlyAdmin):
    """Shows what senders have delivered, and what became of it, and lets those who may replay and dismiss it."""

    keyset = ("received_at", "id")
    list_display = (
        "outcome_shown",
        "source_shown",
        "delivery_shown",
        "type_shown",
        "led_to",
        "reason_shown",
        "received",
    )
    list_display_links = ("delivery_shown",)
    list_filter = (OutcomeFilter,)
    # Not looked at: it makes the search box appear.
    search_fields = ("delivery_id",)
    search_help_text = _("The beginning of a delivery id, or a saga id.")
    actions = ("replay", "dismiss")
    fields = ()
    change_form_template = "admin/django_sagaz/webhook/page.html"

    @admin.display(description=_("outcome"))
    def outcome_shown(self, event: Webhook) -> str:
        """Show what became of it."""
        return format_html('<span class="sagaz-status sagaz-is-{}">{}</span>', event.outcome, _outcome(event))

    @admin.display(description=_("source"))
    def source_shown(self, event: Webhook) -> str:
        """Show who has sent it."""
        return visible(event.source)

    @admin.display(description=_("delivery id"))
    def delivery_shown(self, event: Webhook) -> str:
        """Show what its sender calls it."""
        return visible(event.delivery_id)

    @admin.display(description=_("type"), empty_value="")
    def type_shown(self, event: Webhook) -> str:
        """Show what has happened."""
        return visible(event.event_type or "")

    @admin.display(description=_("led to"), empty_value="")
    def led_to(self, event: Webhook) -> str:
        """Show the run or the signal."""
        return _led_to(event)

    @admin.display(description=_("reason"), empty_value="")
    def reason_shown(self, event: Webhook) -> str:
        """Show why it is quarantined."""
        return visible(event.reason or "")[:200]

    @admin.display(description=_("received"))
    def received(self, event: Webhook) -> str:
        """Show when it came."""
        return time_text(event.received_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the events, without their bodies."""
        return super().get_queryset(request).defer("body")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the events that a search finds; see `found_webhooks`."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(pk__in=found_webhooks(self.get_queryset(request), term)), False

    def whole(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the events with what their pages show."""
        events = self.get_queryset(request).annotate(body_size=json_size("body"))
        return events.annotate(body_text=json_text("body", LOADED))

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with those of decisions first: what follows them takes any."""
        view = self.admin_site.admin_view(self.decide_view)
        return [path("decide/<str:action>/", view, name="django_sagaz_webhook_decide"), *super().get_urls()]

    def render_change_form(self, request: Any, context: Any, *args: Any, **given: Any) -> Any:
        """Show the page of an event."""
        obj, project = given["obj"], current_project()
        alias = str(project.alias)
        notes = AuditEntry.objects.using(alias).filter(saga_id=webhook_subject(obj.pk)).order_by("id")
        sees_runs = obj.saga_id is not None and request.user.has_perm("django_sagaz.view_run")
        context |= {
            "title": visible(obj.delivery_id),
            "subtitle": visible(obj.source),
            "webhook": obj,
            "key": obj.pk,
            "buttons": self.buttons(request, obj),
            "outcome": _outcome(obj),
            "facts": [*_facts(obj), *map(_note, notes[:100])],
            "body_shown": shown_value(obj.body_text, obj.body_size, secret_keys(project.settings.redact_keys)),
            "run": Run.objects.using(alias).only("saga_name").filter(pk=obj.saga_id).first() if sees_runs else None,
        }
        return super().render_change_form(request, context, *args, **given)


def _outcome(event: Webhook) -> str:
    return str(dict(Webhook.Outcome.choices).get(event.outcome, visible(event.outcome)))


def _led_to(event: Webhook) -> str:
    if event.signal is None:
        return visible(event.saga_id or "")
    return f"{visible(event.signal)} → {visible(event.key or event.saga_id or '')}"


def _note(entry: AuditEntry) -> tuple[str, str]:
    what = f"{entry.action}: {entry.found} → {entry.status}"
    return time_text(entry.at, zone=True), visible(
        f"{entry.actor}: {what}" + (f" ({entry.reason})" if entry.reason else "")
    )


def _facts(event: Webhook) -> list[tuple[str, str]]:
    facts = [
        (gettext("Id"), visible(event.pk)),
        (gettext("Source"), visible(event.source)),
        (gettext("Delivery id"), visible(event.delivery_id)),
        (gettext("Type"), visible(event.event_type or "")),
        (gettext("Received"), time_text(event.received_at, zone=True)),
        (gettext("Saga and method"), visible(event.handler)),
        (gettext("Led to"), _led_to(event)),
        (gettext("Reason"), visible(event.reason or "")),
        (gettext("Correlation id"), visible(event.correlation_id or "")),
    ]
    return [fact for fact in facts if fact[1]]

"""The list of signals that nobody has taken, or somebody has, and the page of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.filters import SignalFilter
from django_sagaz.admin.readonly import ReadOnlyAdmin
from django_sagaz.admin.search import found_signals
from django_sagaz.admin.values import LOADED, json_size, json_text, shown_value, time_text, visible
from django_sagaz.admin.waiting import signal_state, taker
from django_sagaz.models import Run, Signal
from sagaz_durable.redaction import secret_keys

__all__ = ["SignalAdmin"]


class SignalAdmin(ReadOnlyAdmin):
    """Shows signals: early ones that no step has asked for yet, late ones that none will, and those that were taken."""

    keyset = ("created_at", "id")
    list_display = ("state_shown", "name_shown", "run_shown", "key_shown", "id_shown", "created", "taken")
    list_display_links = ("name_shown",)
    list_filter = (SignalFilter,)
    # Not looked at: it makes the search box appear.
    search_fields = ("key",)
    search_help_text = _("The beginning of a saga id or a key; those that were taken are found, too.")
    actions = None
    fields = ()
    change_form_template = "admin/django_sagaz/signal/page.html"

    @admin.display(description=_("status"))
    def state_shown(self, signal: Signal) -> str:
        """Show whether it was taken."""
        state = "untaken" if signal.taken_at is None else "taken"
        return format_html('<span class="sagaz-status sagaz-is-{}">{}</span>', state, signal_state(signal))

    @admin.display(description=_("signal"))
    def name_shown(self, signal: Signal) -> str:
        """Show its name."""
        return visible(signal.name)

    @admin.display(description=_("saga id"), empty_value="")
    def run_shown(self, signal: Signal) -> str:
        """Show the run that it was sent to, or that has taken it."""
        return visible(signal.saga_id or signal.taken_by or "")

    @admin.display(description=_("key"), empty_value="")
    def key_shown(self, signal: Signal) -> str:
        """Show the key that it was sent to."""
        return visible(signal.key or "")

    @admin.display(description=_("signal id"), empty_value="")
    def id_shown(self, signal: Signal) -> str:
        """Show what tells it apart from others of its name and address."""
        return visible(signal.signal_id)

    @admin.display(description=_("sent"))
    def created(self, signal: Signal) -> str:
        """Show when it was sent."""
        return time_text(signal.created_at)

    @admin.display(description=_("taken"), empty_value="")
    def taken(self, signal: Signal) -> str:
        """Show when it was taken."""
        return time_text(signal.taken_at)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the signals, without what they bring."""
        return super().get_queryset(request).defer("payload")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the signals that a search finds; see `found_signals`."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(pk__in=found_signals(self.get_queryset(request), term)), False

    def whole(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the signals with what their pages show."""
        signals = self.get_queryset(request).annotate(payload_size=json_size("payload"))
        return signals.annotate(payload_text=json_text("payload", LOADED))

    def render_change_form(self, request: Any, context: Any, *args: Any, **given: Any) -> Any:
        """Show the page of a signal."""
        obj, project = given["obj"], current_project()
        is_secret = secret_keys(project.settings.redact_keys)
        context |= {
            "title": visible(obj.name),
            "subtitle": gettext("key %(key)s") % {"key": visible(obj.key)} if obj.key else visible(obj.saga_id or ""),
            "signal": obj,
            "state": signal_state(obj),
            "facts": _facts(obj),
            "payload_shown": shown_value(obj.payload_text, obj.payload_size, is_secret),
            "run": Run.objects.using(project.alias).only("saga_name").filter(pk=obj.taken_by or obj.saga_id).first()
            if request.user.has_perm("django_sagaz.view_run")
            else None,
            "link": gettext("The run that it was sent to")
            if obj.taken_by is None
            else gettext("The run that has taken it"),
        }
        return super().render_change_form(request, context, *args, **given)


def _facts(signal: Signal) -> list[tuple[str, str]]:
    facts = [
        (gettext("Signal"), visible(signal.name)),
        (gettext("Sent to run"), visible(signal.saga_id or "")),
        (gettext("Sent to key"), visible(signal.key or "")),
        (gettext("Signal id"), visible(signal.signal_id)),
        (gettext("Sent"), time_text(signal.created_at, zone=True)),
        (gettext("Taken"), time_text(signal.taken_at, zone=True)),
        (gettext("Taken by run"), visible(signal.taken_by or "")),
        (gettext("Taken by step"), taker(signal)),
    ]
    return [fact for fact in facts if fact[1]]

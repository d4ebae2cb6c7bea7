"""Replaying and dismissing webhooks: each behind a permission of its own, a page that asks, and a POST."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.confirmation import AskingAdmin, chosen
from django_sagaz.admin.values import visible
from django_sagaz.management.operator_command import ProjectScope, ask_in_scope
from django_sagaz.models import Webhook
from sagaz_durable.intake.replaying import Dismisser, Replayed, Replayer
from sagaz_durable.stores.webhook_rules import REPLAYABLE
from sagaz_integration_core.errors import SagazError

__all__ = ["Replaying"]

_VERBS = {"replay": _("Replay"), "dismiss": _("Dismiss")}

_EXPLANATIONS = {
    "replay": _(
        "The event is given to its saga again, as it was delivered, and leads to what the saga makes of it now."
    ),
    "dismiss": _("Nothing is to come of the event. It is not quarantined any more; who and why are kept."),
}


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=2_000,
        help_text=_("It is kept with the webhook, with your name."),
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
    )


class Replaying(AskingAdmin):
    """The actions of the list, the buttons of a webhook's page, and the page that asks before anything is done."""

    @admin.action(description=_("Replay selected webhooks"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to replay."""
        return self.decide_view(request, "replay")

    @admin.action(description=_("Dismiss selected webhooks"), permissions=["dismiss"])
    def dismiss(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to dismiss."""
        return self.decide_view(request, "dismiss")

    def has_replay_permission(self, request: Any) -> bool:
        """Whether this user may replay webhooks."""
        return self._may(request, "replay")

    def has_dismiss_permission(self, request: Any) -> bool:
        """Whether this user may dismiss webhooks."""
        return self._may(request, "dismiss")

    def _may(self, request: Any, action: str) -> bool:
        return self.has_view_permission(request) and bool(request.user.has_perm(f"django_sagaz.{action}_webhook"))

    def buttons(self, request: HttpRequest, event: Webhook) -> list[dict[str, Any]]:
        """Return what this user may do with an event."""
        outcomes = {"replay": REPLAYABLE, "dismiss": ("quarantined",)}
        return [
            {"verb": verb, "url": self.address("decide", action), "name": action}
            for action, verb in _VERBS.items()
            if event.outcome in outcomes[action] and self._may(request, action)
        ]

    def decide_view(self, request: HttpRequest, action: str) -> HttpResponse:
        """Ask, and then do it."""
        if action not in _VERBS:
            raise Http404
        keys = chosen(request)
        if refusal := self.refusal(request, keys, may=self._may(request, action)):
            return refusal
        form = ReasonForm(request.POST if "decided" in request.POST else None, label_suffix="")
        try:
            if form.is_bound and form.is_valid():
                self._carry_out(request, action, keys, form.cleaned_data["reason"].strip())
                return self.leave(request)
            return self._ask(request, action, keys, form)
        except SagazError as error:
            # The others would hardly fare better, and each would take its time to find out.
            self.tell_error(request, error)
            return self.leave(request)

    def _ask(self, request: HttpRequest, action: str, keys: list[str], form: forms.Form) -> HttpResponse:
        title = {
            "replay": ngettext("Replay %(count)s webhook?", "Replay %(count)s webhooks?", len(keys)),
            "dismiss": ngettext("Dismiss %(count)s webhook?", "Dismiss %(count)s webhooks?", len(keys)),
        }[action]
        events = self.get_queryset(request).in_bulk(keys)
        previews = [_decided(request, action, key, "-", dry_run=True) for key in keys]
        return self.ask_page(
            request,
            title=title % {"count": len(keys)},
            verb=_VERBS[action],
            explanation=_EXPLANATIONS[action],
            address=self.address("decide", action),
            columns=(gettext("Delivery id"), gettext("Source")),
            rows=[_row(events.get(preview.id), preview) for preview in previews],
            form=form,
        )

    def _carry_out(self, request: HttpRequest, action: str, keys: list[str], reason: str) -> None:
        for key in keys:
            became = _decided(request, action, key, reason)
            event = self.get_queryset(request).filter(pk=key).first()
            shown = visible(key if event is None else event.delivery_id)
            if event is not None and became.outcome is not None:
                self.log_change(request, event, f"{_VERBS[action]}: {visible(became.message)} ({visible(reason)})")
            level = messages.SUCCESS if became.done else messages.WARNING
            self.message_user(request, f"{shown}: {visible(became.message)}", level)


def _row(event: Any, preview: Replayed) -> dict[str, Any]:
    return {
        "row": event,
        "status": None if event is None else event.outcome,
        "status_shown": None if event is None else event.get_outcome_display(),
        "key": preview.id,
        "shown": visible(preview.id if event is None else event.delivery_id),
        "name": "" if event is None else visible(event.source),
        "done": preview.done,
        "message": visible(preview.message),
    }


def _decided(request: HttpRequest, action: str, key: str, reason: str, *, dry_run: bool = False) -> Replayed:
    actor = request.user.get_username()

    def work(scope: ProjectScope) -> Coroutine[Any, Any, Replayed]:
        if action == "replay":
            return Replayer(scope, scope.handler_hook, actor, reason).replay(key, dry_run=dry_run)
        return Dismisser(scope.store, actor, reason).dismiss(key, dry_run=dry_run)

    return ask_in_scope(current_project(), work)

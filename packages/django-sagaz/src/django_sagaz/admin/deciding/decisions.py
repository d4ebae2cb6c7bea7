"""Retry, cancel, run now and resolve: each behind a permission of its own, a page that asks, and a POST."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.confirmation import AskingAdmin, chosen
from django_sagaz.admin.values import present, visible
from django_sagaz.management.operator_command import operate
from django_sagaz.models import Run
from sagaz_durable.operations.operator import Operator
from sagaz_durable.operations.outcomes import Outcome, Settlement
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import FOREIGN, RunStatus, erased_as
from sagaz_integration_core.errors import SagazError

__all__ = ["Decisions", "preview_row"]


@record
class Action:
    """What a person can decide.

    Attributes:
        statuses: Those in which a run takes it.
        takes_erased: Whether a run takes it of which is not known any more what its steps were given.
    """

    verb: str | Promise
    explanation: str | Promise
    statuses: tuple[RunStatus, ...]
    takes_erased: bool = False

    def suits(self, run: Run) -> bool:
        """Whether a run takes it, as far as its row tells."""
        if run.fingerprint == FOREIGN or run.status not in self.statuses:
            return False
        return self.takes_erased or erased_as(run.fingerprint) is None


ACTIONS: Mapping[str, Action] = {
    "retry": Action(
        _("Retry"),
        _("A failed run goes on where it stopped, or its compensation is tried again. No failures are counted."),
        ("failed",),
    ),
    "cancel": Action(
        _("Cancel"),
        _("A run compensates what it has done, and does not go on. One that is being executed stops within its lease."),
        ("pending", "executing", "waiting", "failed"),
    ),
    "run-now": Action(
        _("Run now"),
        _("A run goes on now that was started for later, or that sleeps. A signal is not brought forward: it is sent."),
        ("pending", "compensating", "waiting"),
    ),
    "resolve": Action(
        _("Resolve"),
        _("You have settled a failed run outside. Nothing of it is called any more; who and why are kept."),
        ("failed",),
        takes_erased=True,
    ),
}


class DecisionForm(forms.Form):
    """Why, and for a run that is resolved, as what."""

    settled = forms.ChoiceField(
        label=_("It came to"),
        choices=[
            ("completed", _("completed: everything it was to do is done")),
            ("rolled_back", _("rolled back: everything it had done is undone")),
        ],
        widget=forms.RadioSelect,
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=2_000, required=False, widget=forms.Textarea(attrs={"rows": 3, "cols": 60})
    )

    def __init__(self, action: str, data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        if action == "resolve":
            self.fields["reason"].required = True
        else:
            del self.fields["settled"]


class Decisions(AskingAdmin):
    """The actions of the list, the buttons of a run's page, and the page that asks before anything is done."""

    @admin.action(description=_("Retry selected runs"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to retry."""
        return self.decide_view(request, "retry")

    @admin.action(description=_("Cancel selected runs"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to cancel."""
        return self.decide_view(request, "cancel")

    @admin.action(description=_("Run selected runs now"), permissions=["run_now"])
    def run_now(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to bring forward."""
        return self.decide_view(request, "run-now")

    @admin.action(description=_("Resolve selected runs"), permissions=["resolve"])
    def resolve(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Ask whether to resolve."""
        return self.decide_view(request, "resolve")

    def has_retry_permission(self, request: Any) -> bool:
        """Whether this user may retry runs."""
        return self.may(request, "retry")

    def has_cancel_permission(self, request: Any) -> bool:
        """Whether this user may cancel runs."""
        return self.may(request, "cancel")

    def has_run_now_permission(self, request: Any) -> bool:
        """Whether this user may bring runs forward."""
        return self.may(request, "run-now")

    def has_resolve_permission(self, request: Any) -> bool:
        """Whether this user may resolve runs."""
        return self.may(request, "resolve")

    def may(self, request: Any, action: str) -> bool:
        """Whether this user may do this with runs."""
        permission = f"django_sagaz.{action.replace('-', '_')}_run"
        return self.has_view_permission(request) and bool(request.user.has_perm(permission))

    def buttons(self, request: HttpRequest, run: Run, *, sleeps: bool) -> list[dict[str, Any]]:
        """Return the decisions that this user may take about a run in its status.

        Args:
            sleeps: Whether a step or a compensation of it waits for a time, and not for a signal.
        """
        return [
            {"verb": action.verb, "url": self.address("decide", name), "name": name}
            for name, action in ACTIONS.items()
            if action.suits(run) and _is_of_use(name, run, sleeps) and self.may(request, name)
        ]

    def decide_view(self, request: HttpRequest, action: str) -> HttpResponse:
        """Ask, and then do it."""
        if action not in ACTIONS:
            raise Http404
        saga_ids = chosen(request)
        if refusal := self.refusal(request, saga_ids, may=self.may(request, action)):
            return refusal
        form = DecisionForm(action, request.POST if "decided" in request.POST else None)
        if form.is_bound and form.is_valid():
            self._carry_out(request, action, saga_ids, form.cleaned_data)
            return self.leave(request)
        return self._ask(request, action, saga_ids, form)

    def _ask(self, request: HttpRequest, action: str, saga_ids: list[str], form: DecisionForm) -> HttpResponse:
        try:
            previews = [_decide(request, action, saga_id, {"reason": "-"}, dry_run=True) for saga_id in saga_ids]
        except SagazError as error:
            self.tell_error(request, error)
            return self.leave(request)
        runs = self.get_queryset(request).in_bulk(saga_ids)
        # As what it is resolved, is not said yet.
        unsaid = gettext("It is settled as you say below.") if action == "resolve" else None
        title = ngettext("%(verb)s %(count)s run?", "%(verb)s %(count)s runs?", len(saga_ids))
        return self.ask_page(
            request,
            title=title % {"verb": ACTIONS[action].verb, "count": len(saga_ids)},
            verb=ACTIONS[action].verb,
            explanation=ACTIONS[action].explanation,
            address=self.address("decide", action),
            columns=(gettext("Saga id"), gettext("Saga")),
            rows=[preview_row(runs.get(preview.saga_id), preview, unsaid) for preview in previews],
            form=form,
        )

    def _carry_out(self, request: HttpRequest, action: str, saga_ids: list[str], given: Mapping[str, str]) -> None:
        for saga_id in saga_ids:
            try:
                outcome = _decide(request, action, saga_id, given)
            except SagazError as error:
                # The others would hardly fare better, and each would take its time to find out.
                self.tell_error(request, error)
                return
            self.tell(request, outcome, ACTIONS[action].verb, given["reason"])

    def tell(self, request: HttpRequest, outcome: Outcome, done: str | Promise, reason: str) -> None:
        """Tell what became of a decision; what took effect is kept in the admin's log, too."""
        run = self.get_queryset(request).filter(pk=outcome.saga_id).first() if outcome.done else None
        if run is not None:
            text = f"{done}: {visible(outcome.message)}"
            self.log_change(request, run, f"{text} ({visible(reason)})" if reason else text)
        level = messages.SUCCESS if outcome.done else messages.WARNING
        self.tell_problem(request, f"{visible(outcome.saga_id)}: {visible(outcome.message)}", outcome.kind, level)


def _is_of_use(action: str, run: Run, sleeps: bool) -> bool:
    if action == "run-now":
        due, is_held = run.available_at, run.lease_owner is not None
        is_delayed = run.status in ("pending", "compensating") and not is_held
        return sleeps or (is_delayed and due is not None and due > present(run._state.db))  # noqa: SLF001
    return not (action == "cancel" and run.status == "waiting" and run.direction == "back")


def preview_row(run: Any, preview: Outcome, unsaid: str | None = None) -> dict[str, Any]:
    """Return what the page that asks shows of a run.

    Args:
        unsaid: What becomes of it, where that depends on what is still to be said.
    """
    return {
        "row": run,
        "status": None if run is None else run.status,
        "status_shown": None if run is None else run.get_status_display(),  # type: ignore[attr-defined,unused-ignore]
        "key": preview.saga_id,
        "shown": visible(preview.saga_id),
        "name": "" if run is None else visible(run.saga_name),
        "done": preview.done,
        "message": unsaid if unsaid and preview.done else visible(preview.message),
    }


def _decide(
    request: HttpRequest, action: str, saga_id: str, given: Mapping[str, str], *, dry_run: bool = False
) -> Outcome:
    reason = given["reason"].strip()

    def work(operator: Operator, store: Any) -> Coroutine[Any, Any, Outcome]:
        if action == "resolve":
            settled = cast(Settlement, given.get("settled", "completed"))
            return operator.resolve(saga_id, settled, reason=reason, dry_run=dry_run)
        decide = {"retry": operator.retry, "cancel": operator.cancel, "run-now": operator.run_now}[action]
        return decide(saga_id, reason=reason, dry_run=dry_run)

    return operate(current_project(), work, request.user.get_username())

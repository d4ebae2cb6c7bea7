"""Sending a signal from the page of a run: behind a permission of its own, with a page that asks, and a POST."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_sagaz._project.current import current_project
from django_sagaz.admin.deciding.confirmation import chosen, problem_with
from django_sagaz.admin.deciding.decisions import Decisions, preview_row
from django_sagaz.admin.values import visible
from django_sagaz.admin.waiting import load_waits
from django_sagaz.management.operator_command import operate
from django_sagaz.models import Run, Wait
from sagaz_durable.operations.operator import Operator
from sagaz_durable.operations.outcomes import Outcome
from sagaz_durable.serialization.client_ids import check_identifier
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.records import FINISHED, FOREIGN
from sagaz_integration_core.errors import InvalidInput, SagazError

__all__ = ["Sending"]

_LONGEST = 200


class SuggestingInput(forms.TextInput):
    """A text field that suggests values, and takes any other.

    Args:
        suggestions: They go into a ``<datalist>``.
    """

    def __init__(self, suggestions: Sequence[str]) -> None:
        super().__init__({"list": "sagaz-suggestions", "autocomplete": "off", "size": 60})
        self.suggestions = suggestions


class SignalForm(forms.Form):
    """Which signal, what it brings, and why it is sent by hand.

    Args:
        waits: What the run waits for.
    """

    name = forms.CharField(label=_("Signal"), max_length=_LONGEST)
    payload = forms.CharField(
        label=_("Payload"),
        initial="{}",
        required=False,
        help_text=_('What the step is given: a JSON object, as {"approved": true}.'),
        widget=forms.Textarea(attrs={"rows": 6, "cols": 60, "spellcheck": "false"}),
    )
    signal_id = forms.CharField(
        label=_("Signal id"),
        max_length=_LONGEST,
        required=False,
        help_text=_("Tells apart several signals of one name, as the delivery id of a webhook does. May be left out."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2_000,
        help_text=_("It is kept in the audit of the run, with your name."),
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
    )

    def __init__(self, settings: Settings, waits: Sequence[Wait], data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        self._settings = settings
        awaited = [wait for wait in waits if wait.name and wait.outcome is None and visible(wait.name) == wait.name]
        names = list(dict.fromkeys(wait.name for wait in awaited))
        self.fields["name"].widget = SuggestingInput(names)
        self.fields["name"].help_text = _awaited_text(awaited)
        if len(names) == 1:
            self.fields["name"].initial = names[0]

    def clean_name(self) -> str:
        """Refuse what is no signal's name."""
        return _identifier(gettext("A signal's name"), self.cleaned_data["name"])

    def clean_signal_id(self) -> str:
        """Refuse what is no id."""
        given: str = self.cleaned_data["signal_id"]
        return _identifier(gettext("A signal id"), given) if given else ""

    def clean_payload(self) -> dict[str, Any]:
        """Read the payload, and refuse what cannot be kept."""
        payload = _read_object(self.cleaned_data["payload"] or "{}")
        from sagaz_durable.serialization.codec import encode_payload

        limit, wording = self._settings.max_context_bytes, self._settings.wording
        try:
            encode_payload(payload, "the payload", max_bytes=limit, wording=wording)
        except InvalidInput as error:
            raise forms.ValidationError(visible(error)) from error
        return payload


def _awaited_text(waits: Sequence[Wait]) -> str:
    if not waits:
        return gettext("The run waits for no signal now. One that is sent is kept until a step asks for it.")
    texts = [f"{wait.name} ({wait.step})" if wait.key is None else _keyed(wait) for wait in waits]
    return gettext("The run waits for: %(signals)s. Any other signal is kept until a step asks for it.") % {
        "signals": ", ".join(map(visible, texts))
    }


def _keyed(wait: Wait) -> str:
    return f"{wait.name} ({wait.step}, {gettext('key %(key)s') % {'key': wait.key}})"


def _identifier(what: str, given: str) -> str:
    try:
        check_identifier(what, given)
    except InvalidInput as error:
        raise forms.ValidationError(visible(error)) from error
    return given


def _read_object(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValidationError: It is none; what was given is not repeated.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = {"problem": error.msg, "line": error.lineno, "column": error.colno}
        text = gettext("This is no JSON: %(problem)s, in line %(line)s, column %(column)s.") % place
        raise forms.ValidationError(text) from None
    except (ValueError, RecursionError):
        raise forms.ValidationError(gettext("This JSON has numbers too long, or goes too deep, to be read.")) from None
    if not isinstance(value, dict):
        text = gettext('A JSON object is expected, as {"approved": true}; this is %(type)s.')
        raise forms.ValidationError(text % {"type": _type_of(value)})
    return value


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    types = {bool: gettext("a boolean"), list: gettext("an array"), str: gettext("a string")}
    return types.get(type(value), gettext("a number"))


class Sending(Decisions):
    """The button of a run's page that sends a signal, and the page that asks which."""

    def has_signal_permission(self, request: Any) -> bool:
        """Whether this user may send signals to runs."""
        return self.may(request, "signal")

    def buttons(self, request: HttpRequest, run: Run, *, sleeps: bool) -> list[dict[str, Any]]:
        """Return what this user may do with a run in its status."""
        found = super().buttons(request, run, sleeps=sleeps)
        if run.status in FINISHED or run.fingerprint == FOREIGN or not self.has_signal_permission(request):
            return found
        return [{"verb": _("Send signal"), "url": self.address("signal"), "name": "signal"}, *found]

    def signal_view(self, request: HttpRequest) -> HttpResponse:
        """Ask which signal and why, and then send it."""
        if not self.has_signal_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        saga_ids = chosen(request)
        problem = problem_with(saga_ids) or problem_with(() if len(saga_ids) > 1 else saga_ids)
        if problem:
            self.message_user(request, problem, messages.ERROR)
            return self.leave(request)
        [saga_id] = saga_ids
        project = current_project()
        data = request.POST if "decided" in request.POST else None
        form = SignalForm(project.settings, load_waits(project, saga_id), data)
        try:
            if form.is_bound and form.is_valid():
                given = form.cleaned_data
                verb = gettext("Send signal %(name)s") % {"name": visible(given["name"])}
                self.tell(request, _send(request, saga_id, given), verb, given["reason"])
                return self.leave(request)
            return self._ask_which(request, saga_id, form)
        except SagazError as error:
            self.tell_error(request, error)
            return self.leave(request)

    def _ask_which(self, request: HttpRequest, saga_id: str, form: SignalForm) -> HttpResponse:
        preview = _send(request, saga_id, {"name": "-", "payload": {}, "signal_id": "", "reason": "-"}, dry_run=True)
        run = self.get_queryset(request).filter(pk=saga_id).first()
        return self.ask_page(
            request,
            title=gettext("Send a signal?"),
            verb=_("Send signal"),
            explanation=_(
                "A step that waits for this signal is given the payload, and goes on. It is sent to this run, so that "
                "it also reaches a step that waits under a key."
            ),
            address=self.address("signal"),
            columns=(gettext("Saga id"), gettext("Saga")),
            rows=[preview_row(run, preview, gettext("It gets the signal that you name below."))],
            form=form,
        )


def _send(request: HttpRequest, saga_id: str, given: Mapping[str, Any], *, dry_run: bool = False) -> Outcome:
    project = current_project()

    def work(operator: Operator, store: Any) -> Coroutine[Any, Any, Outcome]:
        return operator.send_signal(
            project.settings, given["name"], given["payload"], saga_id=saga_id, signal_id=given["signal_id"],
            reason=given["reason"].strip(), dry_run=dry_run,
        )  # fmt: skip

    return operate(project, work, request.user.get_username())

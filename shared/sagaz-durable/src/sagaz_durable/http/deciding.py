"""The routes by which people decide about runs, as the operators' commands do: who and why are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from sagaz_durable.http.access import Verb, not_found, who_decides
from sagaz_durable.http.answers import Answers, answered, json_answer
from sagaz_durable.http.bodies import read_body, text_member
from sagaz_durable.http.headers import wanted_version
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.origin import check_origin
from sagaz_durable.http.problems import Problem
from sagaz_durable.operations.decisions import Decisions
from sagaz_durable.operations.outcomes import Settlement
from sagaz_durable.problem_types import INVALID_INPUT, REFUSED
from sagaz_integration_core.contract.records import RunRecord

if TYPE_CHECKING:
    from sagaz_durable.operations.outcomes import Outcome

__all__ = ["Decidings", "Decision"]

Decision = Literal["cancel", "retry", "resolve", "run-now"]


class Decidings(Answers):
    """Decisions, for those who may take them."""

    @answered
    async def decide(self, request: HttpRequest, saga_id: str, decision: Decision) -> HttpResponse:
        """Carry out a person's decision about a run; ``reason`` in the body tells why."""
        run, by = await self._deciding(request, decision, saga_id)
        members = ("settled", "reason") if decision == "resolve" else ("reason",)
        given = read_body(request, self.most_bytes, members)
        version, reason = wanted_version(request, run), text_member(given, "reason", "")
        decisions = Decisions(self._scope)
        if decision == "resolve":
            settled = _settled(given, reason)
            return _told(await decisions.resolve(saga_id, settled, by=by, reason=reason, version=version))
        decide = {"cancel": decisions.cancel, "retry": decisions.retry, "run-now": decisions.run_now}[decision]
        return _told(await decide(saga_id, by=by, reason=reason, version=version))

    @answered
    async def send_signal(self, request: HttpRequest, saga_id: str, name: str) -> HttpResponse:
        """Send a run the signal that it waits for, or will wait for; the body's ``payload`` is what it brings."""
        run, by = await self._deciding(request, "signal", saga_id, name)
        given = read_body(request, self.most_bytes, ("payload", "signal_id", "reason"))
        version, reason = wanted_version(request, run), text_member(given, "reason", "")
        signal_id, payload = text_member(given, "signal_id", ""), given.get("payload", {})
        return _told(
            await Decisions(self._scope).signal_run(
                saga_id, name, payload, by=by, reason=reason, signal_id=signal_id, version=version
            )
        )

    async def _deciding(
        self, request: HttpRequest, verb: Verb, saga_id: str, signal: str | None = None
    ) -> tuple[RunRecord, str]:
        """Return a run that this request may decide about, and who does."""
        if self._rules.checks_origin:
            check_origin(request, self._rules.trusted_origins)
        if self._rules.actor is None:
            raise not_found()
        run = await self._permitted(request, verb, saga_id, signal)
        return run, await who_decides(self._rules.actor, request)


def _settled(given: dict[str, Any], reason: str) -> Settlement:
    settled = text_member(given, "settled", "")
    if settled not in get_args(Settlement):
        raise Problem(INVALID_INPUT, f"settled must be one of {', '.join(get_args(Settlement))}")
    if not reason.strip():
        raise Problem(INVALID_INPUT, "reason must say what was done: it is kept with a resolved run")
    return cast("Settlement", settled)


def _told(outcome: Outcome) -> HttpResponse:
    """Return the answer that a decision's outcome is."""
    if outcome.status is None:
        raise not_found()
    if not outcome.done:
        raise Problem(REFUSED, outcome.message)
    told = {"saga_id": outcome.saga_id, "action": outcome.action, "status": outcome.status, "message": outcome.message}
    return json_answer(200, told, {"Cache-Control": "no-store"})

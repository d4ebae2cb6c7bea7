"""What all routes have in common: problems become documents, and a run is found by those who may see it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sagaz_durable.http.access import Verb, allow, not_found, subject_of
from sagaz_durable.http.documents import run_document
from sagaz_durable.http.headers import etag_of, is_unchanged
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.operations.outcomes import RunReport, views_of
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.records import FINISHED, RunRecord, StepRecord
from sagaz_integration_core.contract.waits import WaitRecord
from sagaz_integration_core.error_text import json_text
from sagaz_integration_core.errors import SagazError

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope

__all__ = ["Answers", "answered", "json_answer"]

P = ParamSpec("P")
A = TypeVar("A", bound="Answers")

_OVERHEAD = 16_384
"""Bytes of a signal's request besides its payload."""


def answered(
    route: Callable[Concatenate[A, HttpRequest, P], Coroutine[Any, Any, HttpResponse]],
) -> Callable[Concatenate[A, HttpRequest, P], Coroutine[Any, Any, HttpResponse]]:
    """Have what goes wrong beneath a route answered as a problem document."""

    @wraps(route)
    async def answer(self: A, request: HttpRequest, /, *args: P.args, **given: P.kwargs) -> HttpResponse:
        try:
            return await route(self, request, *args, **given)
        except Problem as problem:
            return self.problem(request, problem)
        except SagazError as error:
            if (told := Problem.of(error)) is None:
                raise
            return self.problem(request, told)

    return answer


def json_answer(status: int, document: dict[str, Any], headers: dict[str, str]) -> HttpResponse:
    """Return a JSON document as an answer."""
    return HttpResponse(status, {"Content-Type": "application/json", **headers}, json_text(document).encode())


class Answers:
    """What routes are answered with.

    Args:
        scope: What the application's sagas are asked through.
        rules: What the application has chosen.
    """

    def __init__(self, scope: ReachableScope, rules: ApiRules) -> None:
        self._scope = scope
        self._rules = rules

    @property
    def most_bytes(self) -> int:
        """How many bytes a request's body may have; a plugin reads one more at most."""
        return self._scope.settings.max_context_bytes + _OVERHEAD

    def problem(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        """Return the answer that a problem is."""
        return problem_response(problem, request.header(self._scope.settings.header_name))

    async def _permitted(self, request: HttpRequest, verb: Verb, saga_id: str, signal: str | None = None) -> RunRecord:
        """Return a run that this request may do this with.

        Raises:
            Problem: There is none, or it may not.
        """
        run = await self._load(saga_id)
        if run is None:
            raise not_found()
        await allow(self._rules.authorize, request, verb, subject_of(run, signal))
        return run

    async def _load(self, saga_id: str) -> RunRecord | None:
        if not findable(saga_id):
            return None
        return await self._scope.reach(lambda: self._scope.store.load(saga_id))

    async def _document(self, request: HttpRequest | None, run: RunRecord) -> HttpResponse:
        """Return what a reader is told of a run; 304 if the request has it already."""
        self._note(run)
        headers = {"ETag": self._etag(run), "Cache-Control": "private, no-cache"}
        if request is not None and is_unchanged(request, headers["ETag"]):
            return HttpResponse(304, headers)
        return json_answer(200, run_document(await self._report(run), self._rules), headers)

    async def _report(self, run: RunRecord) -> RunReport:
        # The run was read before its journal: what is newer than its version is sent with that version at most once.
        store = self._scope.store

        async def read() -> tuple[list[StepRecord], list[WaitRecord]]:
            return await store.load_steps(run.saga_id), await store.load_waits(run.saga_id)

        steps, waits = await self._scope.reach(read)
        return RunReport(run, tuple(steps), (), (), views_of(run, steps, self._scope.registry), tuple(waits))

    def _etag(self, run: RunRecord, form: str = "") -> str:
        # A run that has ended keeps its version, whatever a deployment makes of its class or of these rules.
        steps = tuple(self._scope.registry.graph(run.saga_name).nodes.values())
        return etag_of(run, (steps, self._rules.shows, self._rules.tells_errors), form)

    def _note(self, run: RunRecord) -> None:
        # Where workers are processes of their own, this is how a web process learns what runs take.
        if run.status in FINISHED and run.finished_at is not None and run.saga_name in self._scope.registry:
            seconds = (run.finished_at - run.created_at).total_seconds()
            self._scope.registry.durations.note(run.saga_name, run.saga_id, seconds)

"""The views of the routes, for synchronous and asynchronous servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from django_sagaz._execution.current import current_executions
from django_sagaz._execution.hooks import asynchronous_hook, synchronous_hook
from django_sagaz._execution.scopes import asynchronous_scope, can_wait, synchronous_scope
from django_sagaz._project.http_rules import chosen_rules
from django_sagaz.urls.messages import native_response, neutral_request
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.routes import Route, not_opened
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.http.synchronous import BlockingScope, done_now
from sagaz_durable.runtime.inline import InlineRuns
from sagaz_integration_core.errors import SagazError

__all__ = ["Views"]

View = Callable[..., Any]


class Views:
    """Answers requests by what the project has chosen.

    Args:
        given: What is given where the routes are included; see `chosen_rules`.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def view(self, route: Route) -> View:
        """Return the synchronous view of a route."""

        @require_http_methods(_methods(route))
        def view(request: HttpRequest, **named: str) -> HttpResponse:
            try:
                api = SagaApi(BlockingScope(synchronous_scope()), self._rules(request, synchronous_hook))
            except SagazError as error:
                return native_response(not_opened(error))
            try:
                asked = _asked(request, route, api)
            except Problem as problem:
                return native_response(problem_response(problem))
            return native_response(done_now(route.answer(api, asked, **named)))

        return view

    def aview(self, route: Route) -> View:
        """Return the asynchronous view of a route."""

        @require_http_methods(_methods(route))
        async def view(request: HttpRequest, **named: str) -> HttpResponse:
            try:
                api = SagaApi(await asynchronous_scope(), self._rules(request, asynchronous_hook))
            except SagazError as error:
                return native_response(not_opened(error))
            try:
                asked = _asked(request, route, api)
            except Problem as problem:
                return native_response(problem_response(problem))
            return native_response(await route.answer(api, asked, **named))

        # Django's transactions are synchronous: with ATOMIC_REQUESTS it refuses asynchronous views.
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def accepted(self, request: HttpRequest, saga_name: str, saga_id: str, location: str) -> HttpResponse:
        """Answer a request that has started a run, in synchronous code."""

        async def wait(saga_id: str, seconds: float) -> object:
            return InlineRuns(current_executions().shared_runtime()).wait_sync(saga_id, seconds)

        scope = BlockingScope(synchronous_scope())
        api = SagaApi(scope, chosen_rules(self._given), wait=wait if can_wait() else None)
        return native_response(done_now(api.accepted(neutral_request(request), saga_name, saga_id, location)))

    async def aaccepted(self, request: HttpRequest, saga_name: str, saga_id: str, location: str) -> HttpResponse:
        """Answer a request that has started a run, in asynchronous code."""

        async def wait(saga_id: str, seconds: float) -> object:
            return await InlineRuns(await sync_to_async(current_executions().shared_runtime)()).wait(saga_id, seconds)

        may_wait = await sync_to_async(can_wait)()
        api = SagaApi(await asynchronous_scope(), chosen_rules(self._given), wait=wait if may_wait else None)
        return native_response(await api.accepted(neutral_request(request), saga_name, saga_id, location))

    def _rules(self, request: HttpRequest, hook: Callable[[View | None], View | None]) -> ApiRules:
        rules = chosen_rules(self._given)
        return replace(
            rules,
            authorize=hook(rules.authorize),
            actor=hook(rules.actor),
            # Django has checked the request, where its middleware is on and the view is not exempt.
            checks_origin=not getattr(request, "csrf_processing_done", False),
        )


def _methods(route: Route) -> list[str]:
    return ["GET", "HEAD"] if route.method == "GET" else ["POST"]


def _asked(request: HttpRequest, route: Route, api: SagaApi) -> Any:
    return neutral_request(request, api.most_bytes if route.method == "POST" else 0)

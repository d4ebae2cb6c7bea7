"""Webhooks: who sends them, how a saga declares that they resume its runs, and the address that takes them.

``path("webhooks/", include(webhook_urls({"stripe": Stripe([settings.STRIPE_SECRET])})))`` serves
``POST /webhooks/stripe``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from django_sagaz._execution.hooks import asynchronous_hook, synchronous_hook
from django_sagaz._execution.scopes import asynchronous_scope, synchronous_scope
from django_sagaz._project.current import current_project
from django_sagaz.urls.messages import native_response, neutral_request
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.routes import not_opened
from sagaz_durable.http.synchronous import BlockingScope, done_now
from sagaz_durable.intake.api import WebhookApi, check_sources
from sagaz_durable.intake.receiving import Dispatch
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import Delivery, GitHub, Hmac, Source, StandardWebhooks, Stripe, Unsigned
from sagaz_integration_core.errors import SagazError

__all__ = ["Delivery", "GitHub", "Hmac", "StandardWebhooks", "Stripe", "Unsigned", "resumes", "webhook_urls"]

View = Callable[..., Any]


def webhook_urls(
    sources: Mapping[str, Source], *, name: str = "sagaz_webhooks", asynchronous: bool = False
) -> list[URLPattern]:
    """Return what ``path("webhooks/", include(…))`` includes: an address to which senders deliver their events.

    An event starts the sagas whose ``@trigger(source=…)`` wants it and resumes those that `resumes` it; it is recorded
    with what it leads to, in a transaction of its own, before it is answered. Whoever can sign as a source may send:
    the view is exempt from Django's CSRF check.

    Args:
        sources: By the name that stands in the address, and by which sagas want their events.
        name: Of the address.
        asynchronous: Make the view an ``async def`` one, for ASGI.

    Raises:
        SettingsError: The sources are no mapping of names to sources.
    """
    checked = check_sources(sources)
    view: Any = csrf_exempt(require_POST((_aview if asynchronous else _view)(checked)))
    # What a trigger's own statement breaks is no transaction of ours; and Django's are synchronous.
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    view.webhook_sources = checked
    return [path("<str:source>", view, name=name)]


def _view(sources: Mapping[str, Source]) -> View:
    def view(request: HttpRequest, source: str) -> HttpResponse:
        try:
            api = WebhookApi(BlockingScope(synchronous_scope()), sources, _synchronous, _dispatch())
        except SagazError as error:
            return native_response(not_opened(error))
        try:
            asked = neutral_request(request, api.most_bytes)
        except Problem as problem:
            return native_response(problem_response(problem))
        return native_response(done_now(api.receive(asked, source)))

    return view


def _aview(sources: Mapping[str, Source]) -> View:
    async def view(request: HttpRequest, source: str) -> HttpResponse:
        try:
            api = WebhookApi(await asynchronous_scope(), sources, _asynchronous, _dispatch())
        except SagazError as error:
            return native_response(not_opened(error))
        try:
            asked = neutral_request(request, api.most_bytes)
        except Problem as problem:
            return native_response(problem_response(problem))
        return native_response(await api.receive(asked, source))

    return view


def _dispatch() -> Dispatch | None:
    return current_project().configuration.dispatch


def _synchronous(method: View) -> View:
    return synchronous_hook(method) or method


def _asynchronous(method: View) -> View:
    return asynchronous_hook(method) or method

"""Webhooks: who sends them, how a saga declares that they resume its runs, and the router that takes them.

``app.include_router(webhook_router({"stripe": Stripe([os.environ["STRIPE_SECRET"]])}))`` serves
``POST /webhooks/stripe``.
"""

# Without `from __future__ import annotations`: see `fastapi_sagaz.dependencies`.

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from fastapi_sagaz._app_state import runtime_of
from fastapi_sagaz.http.documentation import WEBHOOK
from fastapi_sagaz.http.messages import handler_of, native_response, neutral_request
from sagaz_durable.intake.api import WebhookApi, check_sources
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import Delivery, GitHub, Hmac, Source, StandardWebhooks, Stripe, Unsigned

__all__ = ["Delivery", "GitHub", "Hmac", "StandardWebhooks", "Stripe", "Unsigned", "resumes", "webhook_router"]


def webhook_router(
    sources: Mapping[str, Source], *, prefix: str = "/webhooks", name: str = "sagaz_webhooks", **options: Any
) -> APIRouter:
    """Return a router with ``POST /webhooks/{source}``, to which senders deliver their events.

    An event starts the sagas whose ``@trigger(source=…)`` wants it and resumes those that `resumes` it; it is recorded
    with what it leads to before it is answered. Whoever can sign as a source may send, so that no dependency is needed
    that asks who the client is.

    Args:
        sources: By the name that stands in the address, and by which sagas want their events.
        prefix: Of the path.
        name: Of the route, and its operation id; two routers of one application need two.
        options: Of ``APIRouter``.

    Raises:
        SettingsError: The sources are no mapping of names to sources.
    """
    router = APIRouter(prefix=prefix, **{"tags": ["webhooks"], **options})
    endpoint = _endpoint(check_sources(sources))
    names: dict[str, Any] = {"name": name, "operation_id": name, "summary": "Take a webhook"}
    router.add_api_route("/{source}", endpoint, methods=["POST"], **names, **WEBHOOK)
    return router


def _endpoint(sources: Mapping[str, Source]) -> Any:
    async def receive(request: Request) -> Response:
        """Take an event that a sender delivers, durably, before it is answered."""
        api = WebhookApi(runtime_of(request), sources, handler_of)
        asked = await neutral_request(request, api.most_bytes)
        return native_response(await api.receive(asked, request.path_params["source"]))

    # By which the lifespan finds what is taken.
    receive.webhook_sources = sources  # type: ignore[attr-defined]
    return receive

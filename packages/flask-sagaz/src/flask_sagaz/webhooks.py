"""Webhooks: who sends them, how a saga declares that they resume its runs, and the blueprint that takes them.

``app.register_blueprint(webhook_blueprint({"stripe": Stripe([os.environ["STRIPE_SECRET"]])}))`` serves
``POST /webhooks/stripe``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState

from flask_sagaz._app_state import SOURCES, current_state
from flask_sagaz.http.messages import native_response, neutral_request
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.routes import not_opened
from sagaz_durable.http.synchronous import BlockingScope, done_now
from sagaz_durable.intake.api import WebhookApi, check_sources
from sagaz_durable.webhooks.resuming import resumes
from sagaz_durable.webhooks.sources import Delivery, GitHub, Hmac, Source, StandardWebhooks, Stripe, Unsigned
from sagaz_integration_core.errors import SagazError

__all__ = ["Delivery", "GitHub", "Hmac", "StandardWebhooks", "Stripe", "Unsigned", "resumes", "webhook_blueprint"]


def webhook_blueprint(
    sources: Mapping[str, Source], *, prefix: str = "/webhooks", name: str = "sagaz_webhooks", **options: Any
) -> Blueprint:
    """Return a blueprint with ``POST /webhooks/<source>``, to which senders deliver their events.

    An event starts the sagas whose ``@trigger(source=…)`` wants it and resumes those that `resumes` it; it is recorded
    with what it leads to before it is answered. Whoever can sign as a source may send: Flask-WTF's ``CSRFProtect``
    leaves it alone.

    Args:
        sources: By the name that stands in the address, and by which sagas want their events.
        prefix: Of the path.
        name, options: The blueprint's, as of ``flask.Blueprint``; two of one application need two names.

    Raises:
        SettingsError: The sources are no mapping of names to sources.
    """
    checked = check_sources(sources)
    blueprint = Blueprint(name, __name__, url_prefix=prefix, **options)
    blueprint.add_url_rule("/<source>", "receive", _view(checked), methods=["POST"])
    blueprint.record(lambda state: _registered(state, checked))
    return blueprint


def _registered(state: BlueprintSetupState, sources: Mapping[str, Source]) -> None:
    state.app.extensions.setdefault(SOURCES, set()).update(sources)
    if not _exempted(state):
        # CSRFProtect may follow; what it asks before a request comes after this.
        state.app.before_request(lambda: _exempt_later(state))


def _exempt_later(state: BlueprintSetupState) -> None:
    _exempted(state)


def _exempted(state: BlueprintSetupState) -> bool:
    """Have Flask-WTF leave the blueprint alone, if the application has it by now."""
    protection = state.app.extensions.get("csrf")
    if protection is None:
        return False
    protection.exempt(state.blueprint)
    return True


def _view(sources: Mapping[str, Source]) -> Callable[[str], Response]:
    def receive(source: str) -> Response:
        try:
            runtime = current_state().process().get()
            dispatch = runtime.configuration.dispatch
            api = WebhookApi(BlockingScope(runtime), sources, current_app.ensure_sync, dispatch)
        except SagazError as error:
            return native_response(not_opened(error))
        # Itself, not the proxy, as `flask_sagaz.http.blueprint` has it.
        native = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - documented by Flask
        try:
            asked = neutral_request(native, api.most_bytes)
        except Problem as problem:
            return native_response(problem_response(problem))
        return native_response(done_now(api.receive(asked, source)))

    return receive

"""`WebhookApi`: the route that senders deliver their events to, without a web framework.

How a plugin serves it: as `http.api` has it, with `check_sources` when the application is set up, and at most
``most_bytes + 1`` bytes of the body, as they came, before any parser of the framework has seen them. Nobody is asked
who the request is from but the source, and the framework's protection from requests of other sites does not apply.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import TYPE_CHECKING

from sagaz_durable.http.answers import json_answer
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.intake.handlers import Hook
from sagaz_durable.intake.receiving import Dispatch, Webhooks
from sagaz_durable.problem_types import INVALID_INPUT, TOO_LARGE, UNSUPPORTED_MEDIA, WEBHOOK_REFUSED, WEBHOOK_UNKNOWN
from sagaz_durable.webhooks.delivery import Source
from sagaz_durable.webhooks.errors import EventNotJson, EventRefused, EventTooLarge, SignatureRefused
from sagaz_integration_core.context import correlation
from sagaz_integration_core.error_text import message_text, type_name, value_text, visible
from sagaz_integration_core.errors import SagazError, SettingsError, StoreUnavailable, WriteRefused

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope

__all__ = ["WebhookApi", "check_sources"]

logger = logging.getLogger("sagaz_durable.webhooks")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def check_sources(given: object) -> Mapping[str, Source]:
    """Return the sources of an application, by the names under which sagas want their events.

    Raises:
        SettingsError: They are no mapping of names to sources.
    """
    if not isinstance(given, Mapping) or not given:
        what = "no source" if isinstance(given, Mapping) else f"type {type_name(given)}"
        raise SettingsError(
            f'webhooks of {what}: expected sources by name, as {{"stripe": Stripe([os.environ["STRIPE_SECRET"]])}}.'
        )
    for name, source in given.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise SettingsError(
                f"{value_text(name, 60)} is no name of a source; expected letters, digits, - and _, as it stands in "
                "the address."
            )
        if isinstance(source, type) or not callable(getattr(source, "verify", None)):
            raise SettingsError(
                f"The source {name!r} is {_kind(source)}; expected StandardWebhooks(…), Stripe(…), GitHub(…), "
                "Hmac(…) or Unsigned()."
            )
        _check_own(name, source)
    return MappingProxyType(dict(given))


def _check_own(name: str, source: object) -> None:
    """Refuse a source of the application's own that a delivery could not be read by."""
    if iscoroutinefunction(source.verify):  # type: ignore[attr-defined]
        raise SettingsError(
            f"The source {name!r} has an async def verify; expected a def: it is called with what came, and waits for "
            "nothing."
        )
    missing = [member for member in ("delivery_member", "event_member") if not hasattr(source, member)]
    if missing:
        raise SettingsError(
            f"The source {name!r} has no {' and no '.join(missing)}; expected None, or the member of the event that "
            "has what the headers have not."
        )


def _kind(source: object) -> str:
    # Never itself: it may be the secret.
    return f"the class {source.__name__}" if isinstance(source, type) else f"of type {type_name(source)}"


class WebhookApi:
    """The route, for one request or many; see the module.

    Args:
        scope: What the application's sagas are asked through.
        sources: By name; checked.
        hook: How the application's functions are called; what that returns is awaited if it can be.
        dispatch: Told of the runs that go on by an event, if others than workers execute them.
    """

    def __init__(
        self, scope: ReachableScope, sources: Mapping[str, Source], hook: Hook, dispatch: Dispatch | None = None
    ) -> None:
        self._scope = scope
        self._sources = sources
        self._hook = hook
        self._dispatch = dispatch

    @property
    def most_bytes(self) -> int:
        """How many bytes a request's body may have; a plugin reads one more at most."""
        return self._scope.settings.max_webhook_bytes

    async def receive(self, request: HttpRequest, source: str) -> HttpResponse:
        """Answer a delivery after its event was recorded with what it leads to: 200, whatever that is.

        Other answers are the sender's to know of, and to send the event again: 400 for a signature that is none, 404
        for a source that is not known, 413, 415 and 422 for a body that cannot be used, and 503 if it was not
        recorded, whyever.
        """
        header = self._scope.settings.header_name
        try:
            await self._take(request, source)
        except Problem as problem:
            return problem_response(problem, request.header(header))
        except SagazError as error:
            if isinstance(error, WriteRefused):
                logger.error(
                    "An event of source %r was not recorded, and its sender is to repeat it: %s",
                    source, visible(message_text(error), 500),
                )  # fmt: skip
            if (told := _problem_of(error)) is None:
                raise
            return problem_response(told, request.header(header))
        return json_answer(200, {"received": True}, {"Cache-Control": "no-store"})

    async def _take(self, request: HttpRequest, source: str) -> None:
        known = self._sources.get(source)
        if known is None:
            raise Problem(WEBHOOK_UNKNOWN)
        correlation_id = correlation.accept(request.header(self._scope.settings.header_name))
        webhooks = Webhooks(self._scope, self._hook, self._dispatch)
        await webhooks.take(source, known, request.headers, request.body, correlation_id)


def _problem_of(error: SagazError) -> Problem | None:
    if isinstance(error, SignatureRefused):
        # Why is for the log alone: it would tell a forger how far he is.
        return Problem(WEBHOOK_REFUSED)
    if isinstance(error, EventRefused):
        kinds = {EventTooLarge: TOO_LARGE, EventNotJson: UNSUPPORTED_MEDIA}
        return Problem(kinds.get(type(error), INVALID_INPUT), str(error))
    if isinstance(error, WriteRefused):
        # What has to be mended is here; to the sender it is as if the store did not answer.
        return Problem.of(StoreUnavailable())
    return Problem.of(error)

"""What the extension has for HTTP; the routes themselves are loaded when an application wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Blueprint, Flask

    from flask_sagaz.http.blueprint import SagazBlueprint
    from sagaz_durable.http.access import Actor, Authorize

__all__ = ["Serving"]


class Serving:
    """Makes blueprints, and answers errors."""

    def blueprint(
        self,
        *,
        authorize: Authorize | None = None,
        actor: Actor | None = None,
        shows: Iterable[str] = (),
        tells_errors: bool = False,
        trusted_origins: Iterable[str] = (),
        longest_wait: float = 10.0,
        prefix: str = "/sagas",
        name: str = "sagaz",
        **options: Any,
    ) -> SagazBlueprint:
        """Return a blueprint for ``app.register_blueprint(…)``; until ``authorize`` is given, it answers 404 to all.

        Requests that decide are checked by Flask-WTF's ``CSRFProtect``, where the application has it and the blueprint
        is not exempt; else for the page that a browser says that they come from.

        Args:
            authorize: Called with the request, a `Verb` and a `Subject` (the run, and whose it is); True permits. Who
                the request is from is to be known before: by ``blueprint.before_request(…)``.
            actor: Called with the request of a decision; returns who decides, for the audit. Without it nobody decides.
            shows: The keys of a run's context, and of what its steps return, that readers are shown.
            tells_errors: Whether readers are shown what a run's error says.
            trusted_origins: Other origins from whose pages browsers may decide, as ``https://shop.example``.
            longest_wait: For how many seconds `SagazBlueprint.accepted` heeds ``Prefer: wait=…`` at most.
            prefix: Of all paths.
            name, options: The blueprint's, as of ``flask.Blueprint``; two of one application need two names.

        Raises:
            SettingsError: One of them cannot be what is meant.
        """
        from flask_sagaz.http.blueprint import SagazBlueprint
        from flask_sagaz.http.messages import hook_of
        from sagaz_durable.http.rules import ApiRules

        rules = ApiRules(
            hook_of(authorize),
            hook_of(actor),
            shows=shows,
            tells_errors=tells_errors,
            trusted_origins=trusted_origins,
            longest_wait=longest_wait,
        )
        return SagazBlueprint(rules, name, url_prefix=prefix, **options)

    def health_blueprint(self, *, prefix: str = "/health", name: str = "sagaz_health") -> Blueprint:
        """Return a blueprint with ``/health/readiness`` and ``/health/liveness``: 200 or 503, for whoever asks.

        Why something is not well is told by `readiness` and `liveness`, and by ``check``.
        """
        from flask_sagaz.http.blueprint import health_blueprint

        return health_blueprint(prefix, name)

    def add_problem_handlers(self, to: Flask | Blueprint) -> None:
        """Have an application's or a blueprint's own views answer what goes wrong with sagas as problem documents.

        What a client got wrong is 422, a run that has not ended or has failed 409, what passes by itself 503 with
        ``Retry-After``, all with the request's correlation id; a run that waits is 202. What is the application's own
        fault is answered as without this, and so is each error that the application has a handler for.
        """
        from flask_sagaz.http.problem_handlers import add_problem_handlers

        add_problem_handlers(to)

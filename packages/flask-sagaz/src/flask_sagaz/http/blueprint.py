"""The blueprints: the routes by which an application's sagas are watched and decided about, and those for probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from flask import Blueprint, Response, current_app, g, request, url_for

from flask_sagaz._app_state import current_state
from flask_sagaz.http.messages import native_response, neutral_request
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.problems import Problem, problem_response
from sagaz_durable.http.reading import probe_answer
from sagaz_durable.http.routes import ROUTES, Route, not_opened
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.http.synchronous import BlockingScope, done_now
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.errors import SagazError, UsageError

if TYPE_CHECKING:
    from flask import Request
    from sagaz import Saga

__all__ = ["SagazBlueprint", "health_blueprint"]


class SagazBlueprint(Blueprint):
    """What `SagazExtension.blueprint` returns."""

    def __init__(self, rules: ApiRules, name: str, **options: Any) -> None:
        super().__init__(name, __name__, **options)
        self._rules = rules
        for route in ROUTES:
            path = f"/{route.path}" if route.path else ""
            # An id may be empty: werkzeug's redirect to another address would repeat what the client has sent.
            self.add_url_rule(path, route.name, self._view(route), methods=[route.method], merge_slashes=False)

    def accepted(self, saga_class: type[Saga], saga_id: str) -> Response:
        """Answer a request whose view has started a run: 202, its status' address, and when to look there.

        With ``Prefer: wait=N`` it waits for the end of the run, and answers 200 with its status if that comes in time;
        at most ten threads of a process wait at once. The start must be committed before.

        Args:
            saga_class: Which saga the run is of.

        Raises:
            UsageError: The application has not registered this blueprint.
        """
        state = current_state()
        runtime = state.process().get()

        async def wait(saga_id: str, seconds: float) -> object:
            return Sagas(runtime).wait_sync(saga_id, seconds)

        api = SagaApi(BlockingScope(runtime), self._rules, wait=wait)
        name = state.registry.add(saga_class).name
        answer = api.accepted(neutral_request(_native()), name, saga_id, self._address(saga_id))
        return native_response(done_now(answer))

    def _address(self, saga_id: str) -> str:
        # An application may have given it another name, or put it into another blueprint.
        name = next((name for name, known in current_app.blueprints.items() if known is self), None)
        if name is None:
            raise UsageError(
                "accepted() needs the address of a run's status, and this application has not registered the "
                "blueprint: app.register_blueprint(sagas_blueprint)."
            )
        # Without a host, of which a client could say what it is.
        path = urlsplit(url_for(f"{name}.show_run", saga_id="-")).path
        return path[:-1] + quote(saga_id, safe="")

    def _view(self, route: Route) -> Callable[..., Response]:
        def view(**named: str) -> Response:
            # Flask-WTF has checked the request, where it is on and the blueprint is not exempt.
            rules = replace(self._rules, checks_origin=not g.get("csrf_valid", False))
            try:
                api = SagaApi(BlockingScope(current_state().process().get()), rules)
            except SagazError as error:
                return native_response(not_opened(error))
            try:
                asked = neutral_request(_native(), api.most_bytes if route.method == "POST" else 0)
            except Problem as problem:
                return native_response(problem_response(problem))
            return native_response(done_now(route.answer(api, asked, **named)))

        return view


def health_blueprint(prefix: str, name: str) -> Blueprint:
    """Return the routes that probes ask; see `SagazExtension.health_blueprint`."""

    def readiness() -> Response:
        return native_response(probe_answer(current_state().process().readiness()))

    def liveness() -> Response:
        return native_response(probe_answer(current_state().process().liveness()))

    health = Blueprint(name, __name__, url_prefix=prefix)
    for probe in (readiness, liveness):
        health.add_url_rule(f"/{probe.__name__}", view_func=probe)
    return health


def _native() -> Request:
    # Itself, not the proxy: the application's functions may keep it.
    own: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - documented by Flask
    return own

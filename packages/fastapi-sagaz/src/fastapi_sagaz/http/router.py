"""`sagaz_router`: the routes by which an application's sagas are watched and decided about."""

# Without `from __future__ import annotations`: see `fastapi_sagaz.dependencies`.

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import NoMatchFound

from fastapi_sagaz._app_state import runtime_of
from fastapi_sagaz.dependencies import Sagas
from fastapi_sagaz.http import documentation
from fastapi_sagaz.http.messages import hook_of, native_response, neutral_request
from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.deciding import Decision
from sagaz_durable.http.reading import Form
from sagaz_durable.http.rules import ApiRules
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.http.access import Actor, Authorize

__all__ = ["SagazRouter", "sagaz_router"]

_PATH = "/%:@!$&'()*+,;="
"""What stands in a path as it is."""


def sagaz_router(
    *,
    authorize: "Authorize | None" = None,
    actor: "Actor | None" = None,
    shows: Iterable[str] = (),
    tells_errors: bool = False,
    trusted_origins: Iterable[str] = (),
    longest_wait: float = 10.0,
    prefix: str = "/sagas",
    name: str = "sagaz",
    **options: Any,
) -> "SagazRouter":
    """Return a router for ``app.include_router(…)``; until ``authorize`` is given, it answers 404 to everybody.

    Args:
        authorize: Called with the request, a `Verb` and a `Subject` (the run, and whose it is); True permits. An
            ``async def`` function, or a plain one, which is called in a thread. Who the request is from is to be known
            before: by ``dependencies=[Depends(signed_in)]``.
        actor: Called with the request of a decision; returns who decides, for the audit. Without it nobody decides.
        shows: The keys of a run's context, and of what its steps return, that readers are shown.
        tells_errors: Whether readers are shown what a run's error says.
        trusted_origins: Other origins from whose pages browsers may decide, as ``https://shop.example``.
        longest_wait: For how many seconds `SagazRouter.accepted` heeds ``Prefer: wait=…`` at most.
        prefix: Of all paths.
        name: How the names of routes, and the operation ids, begin; two routers of one application need two.
        options: Of ``APIRouter``: ``dependencies``, ``tags``, ``include_in_schema`` …

    Raises:
        SettingsError: One of them cannot be what is meant.
    """
    rules = ApiRules(
        hook_of(authorize),
        hook_of(actor),
        shows=shows,
        tells_errors=tells_errors,
        trusted_origins=trusted_origins,
        longest_wait=longest_wait,
    )
    return SagazRouter(rules, name, prefix=prefix, **{"tags": ["sagas"], **options})


class SagazRouter(APIRouter):
    """What `sagaz_router` returns."""

    def __init__(self, rules: ApiRules, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._rules = rules
        self._name = name
        self._add_reading()
        self._add_deciding()

    async def accepted(self, request: Request, saga_class: "type[Saga]", saga_id: str) -> Response:
        """Answer a request whose endpoint has started a run: 202, its status' address, and when to look there.

        With ``Prefer: wait=N`` it waits for the end of the run, and answers 200 with its status if that comes in time.
        The start must be committed before; a run of `run_saga_background` begins when it is waited for.

        Args:
            saga_class: Which saga the run is of.

        Raises:
            UsageError: The application does not include this router.
        """
        runtime = runtime_of(request)
        saga_name = runtime.registry.add(saga_class).name
        api = SagaApi(runtime, self._rules, wait=Sagas(runtime).wait)
        location = self._address(request, saga_id)
        return native_response(await api.accepted(await neutral_request(request), saga_name, saga_id, location))

    def _address(self, request: Request, saga_id: str) -> str:
        # Of this application and where it is mounted; a whole URL would have what the client says that the host is.
        try:
            path = request.app.url_path_for(f"{self._name}_show_run", saga_id="-")
        except NoMatchFound:
            raise UsageError(
                "accepted() needs the address of a run's status, and this application does not include the router: "
                "app.include_router(sagas_router)."
            ) from None
        whole = f"{request.scope.get('root_path', '').rstrip('/')}{path}"
        return quote(whole[:-1], safe=_PATH) + quote(saga_id, safe="")

    def _add(self, method: str, path: str, name: str, endpoint: Callable[..., Any], **documented: Any) -> None:
        whole, summary = f"{self._name}_{name}", name.replace("_", " ").capitalize()
        options: dict[str, Any] = {"name": whole, "operation_id": whole, "summary": summary, **documented}
        self.add_api_route(path, endpoint, methods=[method], **options)

    def _add_reading(self) -> None:
        async def list_runs(request: Request) -> Response:
            """List the runs that may be read, the newest first."""
            return native_response(await self._api(request).list_runs(await neutral_request(request)))

        async def show_run(request: Request) -> Response:
            """Tell how far a run is; `ETag` is for `If-None-Match` here, and for `If-Match` of decisions."""
            return native_response(await self._api(request).show_run(await neutral_request(request), _id(request)))

        def draw(form: Form | None) -> Callable[..., Any]:
            async def draw_run(request: Request) -> Response:
                """Draw the steps of a run, as SVG or as Mermaid text."""
                return native_response(
                    await self._api(request).draw_run(await neutral_request(request), _id(request), form)
                )

            return draw_run

        self._add("GET", "", "list_runs", list_runs, **documentation.LIST)
        self._add("GET", "/{saga_id}", "show_run", show_run, **documentation.SHOW)
        self._add("GET", "/{saga_id}/graph", "draw_run", draw(None), **documentation.DRAW)
        self._add("GET", "/{saga_id}/graph.svg", "draw_run_svg", draw("svg"), **documentation.DRAW_SVG)
        self._add("GET", "/{saga_id}/graph.mmd", "draw_run_mermaid", draw("mermaid"), **documentation.DRAW_MERMAID)

    _DECISIONS: ClassVar[dict[Decision, str]] = {
        "cancel": "Have a run compensate what it has done, instead of going on.",
        "retry": "Have a failed run go on where it stopped, or its compensation tried again.",
        "resolve": "Note that a failed run was settled outside; nothing of it is called any more.",
        "run-now": "Have a run go on now that is delayed or sleeps.",
    }

    def _add_deciding(self) -> None:
        def decides(decision: Decision) -> Callable[..., Any]:
            async def decide(request: Request) -> Response:
                api = self._api(request)
                asked = await neutral_request(request, api.most_bytes)
                return native_response(await api.decide(asked, _id(request), decision))

            return decide

        async def send_signal(request: Request) -> Response:
            """Send a run the signal that it waits for, or will wait for."""
            api = self._api(request)
            asked = await neutral_request(request, api.most_bytes)
            return native_response(await api.send_signal(asked, _id(request), request.path_params["signal"]))

        for decision, told in self._DECISIONS.items():
            name = "run_now" if decision == "run-now" else f"{decision}_run"
            documented = documentation.deciding(decision)
            self._add("POST", f"/{{saga_id}}/{decision}", name, decides(decision), description=told, **documented)
        self._add("POST", "/{saga_id}/signal/{signal}", "send_signal", send_signal, **documentation.SIGNAL)

    def _api(self, request: Request) -> SagaApi:
        return SagaApi(runtime_of(request), self._rules)


def _id(request: Request) -> str:
    # Read by itself: a parameter of the endpoint would be documented as one that FastAPI's own 422 is answered for.
    saga_id: str = request.path_params["saga_id"]
    return saga_id

"""What a project includes: the addresses of the routes about sagas, and of those for probes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.views.decorators.http import require_safe

from django_sagaz._project.current import current_registry
from django_sagaz._project.http_rules import rules_of
from django_sagaz.health import areadiness, liveness, readiness
from django_sagaz.inline import class_of
from django_sagaz.urls.messages import native_response
from django_sagaz.urls.views import Views
from sagaz_durable.http.reading import probe_answer
from sagaz_durable.http.routes import ROUTES
from sagaz_integration_core.errors import UsageError

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.http.access import Actor, Authorize

__all__ = ["SagazUrls", "health_urls", "sagaz_urls"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def sagaz_urls(
    *,
    authorize: Authorize | str | None = None,
    actor: Actor | str | None = None,
    shows: Iterable[str] | None = None,
    tells_errors: bool | None = None,
    trusted_origins: Iterable[str] | None = None,
    longest_wait: float | None = None,
    name: str = "sagaz",
    asynchronous: bool = False,
    decorator: Decorator | None = None,
) -> SagazUrls:
    """Return what ``path("sagas/", include(…))`` includes; until ``authorize`` is given, it answers 404 to everybody.

    What is not given is what ``SAGAZ["HTTP"]`` says, with the same names in capitals. Requests that decide are checked
    by Django's CSRF middleware, where the project has it and the view is not exempt; else for the page that a browser
    says that they come from.

    Args:
        authorize: Called with the request, a `Verb` and a `Subject` (the run, and whose it is); True permits. A plain
            function, an ``async def`` one, or its dotted path.
        actor: Called with the request of a decision; returns who decides, for the audit. Without it nobody decides.
        shows: The keys of a run's context, and of what its steps return, that readers are shown.
        tells_errors: Whether readers are shown what a run's error says.
        trusted_origins: Other origins from whose pages browsers may decide, as ``https://shop.example``, where Django
            does not check that.
        longest_wait: For how many seconds `SagazUrls.accepted` heeds ``Prefer: wait=…`` at most; 10 by default.
        name: The namespace of the addresses, with those around it: ``"api:sagaz"``; two of a project need two.
        asynchronous: Make the views ``async def`` ones, for ASGI.
        decorator: Put around each view: ``login_required``, or one that lets no other users in.

    Raises:
        SettingsError: One of them cannot be what is meant.
    """
    given = {
        "authorize": authorize,
        "actor": actor,
        "shows": shows,
        "tells_errors": tells_errors,
        "trusted_origins": trusted_origins,
        "longest_wait": longest_wait,
    }
    return SagazUrls(Views(_checked(given)), name, asynchronous=asynchronous, decorator=decorator)


class SagazUrls:
    """What `sagaz_urls` returns."""

    def __init__(self, views: Views, name: str, *, asynchronous: bool, decorator: Decorator | None) -> None:
        self._views = views
        self._name = name
        self.app_name = name.rpartition(":")[2]
        make = views.aview if asynchronous else views.view
        around: Decorator = decorator or (lambda view: view)
        self.urlpatterns = [path(route.path, around(make(route)), name=route.name) for route in ROUTES]

    def accepted(self, request: HttpRequest, saga_class: type[Saga], saga_id: str) -> HttpResponse:
        """Answer a request whose view has started a run: 202, its status' address, and when to look there.

        With ``Prefer: wait=N`` it waits for the end of the run, and answers 200 with its status if that comes in time;
        at most ten threads of a process wait at once. The start must be committed before: while a transaction is open,
        nothing is waited for.

        Args:
            saga_class: Which saga the run is of.

        Raises:
            UsageError: The project does not include these addresses.
        """
        return self._views.accepted(request, _name_of(saga_class), saga_id, self._address(request, saga_id))

    async def aaccepted(self, request: HttpRequest, saga_class: type[Saga], saga_id: str) -> HttpResponse:
        """Do as `accepted`, in asynchronous code, which as many requests as there are may wait in."""
        return await self._views.aaccepted(request, _name_of(saga_class), saga_id, self._address(request, saga_id))

    def _address(self, request: HttpRequest, saga_id: str) -> str:
        try:
            urlconf = getattr(request, "urlconf", None)
            address = reverse(f"{self._name}:show_run", urlconf, kwargs={"saga_id": "-"})
        except NoReverseMatch:
            raise UsageError(
                "accepted() needs the address of a run's status, and the project does not include it under the name "
                f'{self._name!r}: path("sagas/", include(sagas_urls)). Within other namespaces: '
                'sagaz_urls(name="api:sagaz").'
            ) from None
        return address[:-1] + quote(saga_id, safe="")


def health_urls(*, asynchronous: bool = False) -> list[URLPattern]:
    """Return what ``path("health/", include(health_urls()))`` includes: 200 or 503, for whoever asks.

    Why something is not well is told by the functions `readiness` and `liveness`, and by ``sagaz_check``.
    """
    ready, live = (_aready, _alive) if asynchronous else (_ready, _live)
    return [
        path("readiness", require_safe(ready), name="sagaz_readiness"),
        path("liveness", require_safe(live), name="sagaz_liveness"),
    ]


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in given.items() if value is not None and not _is_path(name, value)}
    rules = rules_of(known)
    # Each request reads them, and a generator could be read once.
    return {**given, **{name: getattr(rules, name) for name in known}}


def _is_path(name: str, value: object) -> bool:
    # A function is often given by its path because its module needs this one; it is looked for when it is needed.
    return name in ("authorize", "actor") and isinstance(value, str)


def _ready(request: HttpRequest) -> HttpResponse:
    return native_response(probe_answer(readiness()))


def _live(request: HttpRequest) -> HttpResponse:
    return native_response(probe_answer(liveness()))


async def _aready(request: HttpRequest) -> HttpResponse:
    return native_response(probe_answer(await areadiness()))


async def _alive(request: HttpRequest) -> HttpResponse:
    return native_response(probe_answer(liveness()))


def _name_of(saga_class: type[Saga]) -> str:
    return current_registry().add(class_of(saga_class)).name

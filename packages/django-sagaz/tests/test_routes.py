"""The addresses about sagas that a project includes: hooks, forged requests, transactions, whatever clients send."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings as project_settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import on, place
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import SettingsError, UsageError, atomic_saga_start, close, health_urls, sagaz_urls
from django_sagaz.checks import check_settings
from django_sagaz.urls import accepted as accepted_by_setting
from support.asgi import AsgiClient
from support.http_asks import asks, faults_of
from support.wsgi import WsgiClient

MIA, MAX = {"User": "mia"}, {"User": "max"}
ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}
CSRF = "django.middleware.csrf.CsrfViewMiddleware"


def may(request, verb, subject):
    return request.headers.get("User") == "mia"


def operator(request):
    return request.headers["User"]


@pytest.fixture(params=["sync", "async"])
def way(request):
    return request.param


@pytest.fixture
def shop(home, settings, way):
    """Include the addresses, and a view that starts a run; return what asks the project."""

    def shop(prefix="sagas/", *, place_in=lambda patterns: patterns, name="sagaz", csrf=False, **options):
        rules = {"authorize": may, "actor": operator, "longest_wait": 1, **options}
        urls = sagaz_urls(asynchronous=way == "async", name=name, **rules)
        patterns = place_in([path(prefix, include(urls))])
        if way == "async":
            patterns.append(path("health/", include(health_urls(asynchronous=True))))
        else:
            patterns.append(path("health/", include(health_urls())))
        views = [path("orders", csrf_exempt(_placing(home, urls))), path("token", _token)]
        settings.ROOT_URLCONF = (*patterns, *views)
        if csrf:
            settings.MIDDLEWARE = [*settings.MIDDLEWARE, CSRF]
        return Asking(way)

    yield shop
    close()


def _placing(home, urls):
    def start():
        with transaction.atomic(home):
            return atomic_saga_start(OrderSaga, {"db": home, "name": "x"}, owner="ada")

    if iscoroutinefunction(urls.urlpatterns[0].callback):

        async def place(request):
            return await urls.aaccepted(request, OrderSaga, await sync_to_async(start)())
    else:

        def place(request):
            return urls.accepted(request, OrderSaga, start())

    return place


def _token(request):
    return HttpResponse(get_token(request))


class Asking:
    """A client that has no page."""

    def __init__(self, way):
        self.client = (Client if way == "sync" else AsyncClient)(enforce_csrf_checks=True)
        self.client.raise_request_exception = False
        self._is_async = way == "async"

    def __call__(self, method, path, body=b"", content_type="application/json", **headers):
        given = method, path, body, content_type
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._asked(given, headers) if self._is_async else self.client.generic(*given, headers=headers)

    @async_to_sync
    async def _asked(self, given, headers):
        return await self.client.generic(*given, headers=headers)

    def started(self, **headers):
        answer = self("POST", "/orders", **headers)
        assert answer.status_code == 202, answer.content
        return answer.headers["Location"]


def problem(answer):
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    return answer.status_code, answer.json()["type"].rpartition("#")[2]


@on()
def test_a_run_is_shown_to_those_who_may_see_it_and_to_nobody_else(shop):
    ask = shop()
    location = ask.started()
    assert ask("GET", location, **MIA).json()["owner"] == "ada"
    assert problem(ask("GET", location, **MAX)) == (404, "not-found")
    assert problem(shop(authorize=None)("GET", "/sagas/", **MIA)) == (404, "not-found")


@on("default")
def test_what_a_client_has_already_is_answered_without_a_body_or_a_type(shop):
    ask = shop()
    location = ask.started()
    etag = ask("GET", location, **MIA).headers["ETag"]
    again = ask("GET", location, **MIA, If_None_Match=etag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert "Content-Type" not in again.headers


@on("default")
def test_other_methods_are_told_which_there_are(shop):
    ask = shop()
    location = ask.started()
    for method, address, allowed in (("POST", location, "GET, HEAD"), ("GET", f"{location}/cancel", "POST")):
        answer = ask(method, address, **MIA)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@on()
def test_a_plain_hook_may_use_the_orm(home, shop):
    Order.objects.using(home).create(name="mia")

    def known(request, verb, subject):
        return Order.objects.using(home).filter(name=request.headers["User"]).exists()

    ask = shop(authorize=known)
    location = ask.started()
    assert ask("GET", location, **MIA).status_code == 200
    assert ask("GET", location, **MAX).status_code == 404


@on("default")
@pytest.mark.parametrize("kind", ["function", "object"])
def test_a_hook_may_be_asynchronous(shop, kind):
    async def amay(request, verb, subject):
        await asyncio.sleep(0)
        return may(request, verb, subject)

    class Policy:
        async def __call__(self, request, verb, subject):
            return await amay(request, verb, subject)

    ask = shop(authorize=amay if kind == "function" else Policy())
    location = ask.started()
    assert ask("GET", location, **MIA).status_code == 200
    assert ask("GET", location, **MAX).status_code == 404


@on("default")
def test_a_hook_that_raises_stop_iteration_is_an_error_and_no_endless_wait(shop):
    ask = shop(authorize=lambda *_: next(iter(())))
    assert ask("GET", "/sagas/", **MIA).status_code == 500


@on("default")
def test_every_view_is_within_the_projects_decorator(shop, way):
    def nobody(view):
        async def arefuse(request, **named):
            return HttpResponse(status=401)

        return arefuse if way == "async" else (lambda request, **named: HttpResponse(status=401))

    ask = shop(decorator=nobody)
    for method, below in (("GET", ""), ("GET", "x"), ("GET", "x/graph"), ("POST", "x/cancel"), ("POST", "x/signal/y")):
        assert ask(method, f"/sagas/{below}", **MIA).status_code == 401


@on()
def test_a_decision_is_carried_out_with_the_request_that_asks_for_it(home, shop, monkeypatch):
    monkeypatch.setitem(connections[home].settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connections.settings[home], "ATOMIC_REQUESTS", True)
    ask = shop()
    # The view of the application is refused by Django itself when it is asynchronous.
    with transaction.atomic(home):
        saga_id = atomic_saga_start(OrderSaga, {"db": home, "name": "x"})
    etag = ask("GET", f"/sagas/{saga_id}", **MIA).headers["ETag"]
    cancel = f"/sagas/{saga_id}/cancel"
    assert ask("POST", cancel, b'{"reason": "asked"}', **MIA, If_Match=etag).status_code == 200
    assert problem(ask("POST", cancel, **MIA, If_Match=etag)) == (412, "run-changed")
    assert ask("GET", f"/sagas/{saga_id}", **MIA).json()["status"] == "compensating"


@on()
def test_a_run_that_does_not_end_in_time_is_answered_as_accepted(shop):
    answer = shop()("POST", "/orders", Prefer="wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")


@on("default")
@pytest.mark.parametrize("way", ["sync"])
def test_while_a_transaction_is_open_nobody_waits_for_what_it_has_started(home, shop):
    ask = shop()
    with transaction.atomic(home):
        answer = ask("POST", "/orders", Prefer="wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0")


@pytest.mark.parametrize("alias", [place("default", transaction=False)])
def test_in_a_testcase_nobody_waits_for_what_no_worker_can_see(shop):
    answer = shop()("POST", "/orders", Prefer="wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0")


@on("default")
@pytest.mark.parametrize("way", ["sync"])
def test_where_threads_are_greenlets_nobody_waits(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda name: True))
    answer = shop()("POST", "/orders", Prefer="wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0")


@on("default")
def test_addresses_are_those_of_where_they_are_included(shop, settings):
    ask = shop(place_in=lambda patterns: [path("api/", include((patterns, "api")))], name="api:sagaz")
    location = ask.started(Host="testserver")
    assert location.startswith("/api/sagas/")
    assert ask("GET", location, **MIA).status_code == 200


@on("default")
def test_addresses_that_are_not_included_are_missed_by_name(shop, settings):
    ask = shop()
    settings.ROOT_URLCONF = settings.ROOT_URLCONF[1:]
    ask.client.raise_request_exception = True
    with pytest.raises(UsageError, match="include\\(sagas_urls\\)"):
        ask("POST", "/orders")


@on("default")
def test_two_of_one_project_have_names_of_their_own(shop, way):
    support = sagaz_urls(asynchronous=way == "async", name="support")
    ask = shop(place_in=lambda patterns: [*patterns, path("support/", include(support))])
    assert ask("GET", "/sagas/", **MIA).status_code == 200
    assert problem(ask("GET", "/support/", **MIA)) == (404, "not-found")


@on("default")
def test_with_djangos_csrf_middleware_its_token_is_what_counts(shop):
    ask = shop(csrf=True)
    cancel = f"{ask.started()}/cancel"
    assert ask("POST", cancel, **MIA).status_code == 403
    token = ask("GET", "/token").content.decode()
    assert ask("POST", cancel, **MIA, **ELSEWHERE, X_CSRFToken=token).status_code == 200


@on("default")
@pytest.mark.parametrize("how", ["absent", "exempt"])
def test_without_it_the_page_that_a_browser_names_is_looked_at(shop, how):
    ask = shop(**({} if how == "absent" else {"csrf": True, "decorator": csrf_exempt}))
    cancel = f"{ask.started()}/cancel"
    assert problem(ask("POST", cancel, **MIA, **ELSEWHERE)) == (403, "cross-site-request")
    assert problem(ask("POST", cancel, **MIA, Origin="https://evil.example")) == (403, "cross-site-request")
    assert ask("POST", cancel, **MIA, Sec_Fetch_Site="same-origin").status_code == 200


@on("default")
def test_bodies_are_bounded_by_us_and_by_the_project(shop, settings):
    ask = shop()
    cancel = f"{ask.started()}/cancel"
    assert problem(ask("POST", cancel, b" " * 1_100_000, **MIA)) == (413, "body-too-large")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert problem(ask("POST", cancel, b'{"reason": "long"}', **MIA)) == (413, "body-too-large")
    assert ask("GET", cancel.removesuffix("/cancel"), **MIA).json()["status"] == "pending"


@on("default")
def test_a_body_that_something_has_read_before_counts(shop, way):
    def reading(view):
        def read(request, **named):
            assert request.body
            return view(request, **named)

        async def aread(request, **named):
            assert request.body
            return await view(request, **named)

        return aread if way == "async" else read

    ask = shop()
    cancel = f"{ask.started()}/cancel"
    assert problem(shop(decorator=reading)("POST", cancel, b'{"x": 1}', **MIA)) == (422, "invalid-input")


@on("default")
def test_a_store_that_cannot_be_opened_is_a_503_that_says_when_to_ask_again(shop, settings, tmp_path):
    settings.SAGAZ = {"STORAGE_URL": f"sqlite:///{tmp_path / 'none' / 'sagas.db'}"}
    ask = shop()
    answer = ask("GET", "/sagas/", **MIA)
    assert problem(answer) == (503, "store-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert ask("GET", "/health/readiness").status_code == 503
    assert ask("GET", "/health/liveness").json() == {"status": "ok"}


@on("default")
@pytest.mark.parametrize("way", ["sync"])
def test_the_setting_says_who_may_where_the_include_does_not(home, settings, way):
    functions = {"AUTHORIZE": f"{__name__}.may", "ACTOR": f"{__name__}.operator", "SHOWS": ["name"]}
    settings.SAGAZ = {**settings.SAGAZ, "HTTP": functions}
    settings.ROOT_URLCONF = (
        path("sagas/", include("django_sagaz.urls")),
        path("support/", include(sagaz_urls(name="support", authorize=lambda *_: True, shows=()))),
        path("orders", _placing_by_setting(home)),
    )
    assert check_settings(None) == []
    ask = Asking(way)
    location = ask.started()
    assert ask("GET", location, **MIA).json()["context"] == {"name": "x"}
    assert ask("GET", location, **MAX).status_code == 404
    assert ask("POST", f"{location}/cancel", **MIA).status_code == 200
    assert ask("GET", location.replace("sagas", "support"), **MAX).json()["context"] == {}


def _placing_by_setting(home):
    def place(request):
        with transaction.atomic(home):
            saga_id = atomic_saga_start(OrderSaga, {"db": home, "name": "x"})
        return accepted_by_setting(request, OrderSaga, saga_id)

    return place


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("may", 'SAGAZ["HTTP"]='),
        ({"AUTHORISE": "x"}, "AUTHORISE"),
        ({"AUTHORIZE": "testproject.may"}, "authorize='testproject.may'"),
        ({"AUTHORIZE": "no.such.module"}, "authorize='no.such.module'"),
        ({"SHOWS": "name"}, "shows='name'"),
        ({"SHOWS": 5}, "shows=5"),
        ({"TRUSTED_ORIGINS": "https://a.example"}, "trusted_origins='https://a.example'"),
        ({"LONGEST_WAIT": 600}, "longest_wait=600"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_an_error_of_the_checks(settings, wrong, told):
    settings.SAGAZ = {"HTTP": wrong}
    [found] = check_settings(None)
    assert found.id == "sagaz.E001"
    assert told in found.msg


@pytest.mark.parametrize("wrong", [{"authorize": 5}, {"shows": "order_id"}, {"trusted_origins": ["shop.example"]}])
def test_what_cannot_be_meant_is_refused_when_the_addresses_are_made(wrong):
    with pytest.raises(SettingsError):
        sagaz_urls(**wrong)


@on("default")
def test_keys_that_a_generator_names_are_shown_to_every_reader(shop):
    ask = shop(shows=(key for key in ["name"]))
    location = ask.started()
    for _ in range(2):
        assert ask("GET", location, **MIA).json()["context"] == {"name": "x"}


@on("default")
def test_nothing_that_a_client_sends_is_the_servers_fault(home, shop, way):
    location = shop(shows=["name"], tells_errors=True).started()
    client = AsgiClient(get_asgi_application()) if way == "async" else WsgiClient(get_wsgi_application())
    assert project_settings.DEBUG is False

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
    @given(data=st.data())
    def send(data):
        ask = data.draw(asks(MIA, location))
        assert faults_of(asyncio.run(client.request(ask))) == []

    send()

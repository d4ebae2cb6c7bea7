"""What a project's own views let out, plain and asynchronous ones, with the middleware that tells it as a problem."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from places import on
from testproject.shop.models import Order

from django_sagaz import InvalidInput, RunWaiting, StoreUnavailable, UsageError

ERRORS = {
    "input": InvalidInput("the amount is missing"),
    "away": StoreUnavailable("db.internal does not answer"),
    "waiting": RunWaiting("it waits for paid", "o-1"),
    "code": UsageError("db.internal is called wrongly"),
    "other": ZeroDivisionError("by zero"),
}
PROBLEM = "application/problem+json"
OURS, CONTEXT = "django_sagaz.middleware.SagaProblemMiddleware", "django_sagaz.middleware.SagaContextMiddleware"
PATHS = ["/fail", "/afail"]


def fail(request, name):
    Order.objects.create(name=name)
    raise ERRORS[name]


async def afail(request, name):
    raise ERRORS[name]


def own_page(get_response):
    """A project's own middleware, which answers what it knows."""

    def middleware(request):
        return get_response(request)

    middleware.process_exception = lambda request, error: HttpResponse(type(error).__name__, status=418)
    return middleware


urlpatterns = [path("fail/<name>", fail), path("afail/<name>", afail)]

if find_spec("rest_framework") and find_spec("ninja"):
    from ninja import NinjaAPI
    from rest_framework.decorators import api_view

    api = NinjaAPI(urls_namespace="problems", docs_url=None, openapi_url=None)
    api.get("/{name}")(fail)
    urlpatterns += [path("rest/<name>", api_view()(fail)), path("ninja/", api.urls)]


@pytest.fixture
def get(settings):
    """Asks a project that has these middlewares."""
    settings.ROOT_URLCONF = __name__

    def get(path, *middleware, **headers):
        settings.MIDDLEWARE = list(middleware)
        return Client(raise_request_exception=False, headers=headers).get(path)

    return get


@on("default")
@pytest.mark.parametrize("view", PATHS)
def test_what_a_view_lets_out_is_a_problem_document_with_the_requests_id(home, get, view):
    assert get(f"{view}/input", CONTEXT).status_code == 500
    answer = get(f"{view}/input", CONTEXT, OURS, **{"X-Correlation-ID": "c-1"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM)
    assert (answer.json()["detail"], answer.json()["correlation_id"]) == ("the amount is missing", "c-1")
    assert answer.headers["X-Correlation-ID"] == "c-1"
    away = get(f"{view}/away", CONTEXT, OURS)
    assert (away.status_code, away.headers["Content-Type"], away.headers["Retry-After"]) == (503, PROBLEM, "5")
    assert b"db.internal" not in away.content
    waiting = get(f"{view}/waiting", CONTEXT, OURS)
    assert (waiting.status_code, waiting.json()) == (202, {"saga_id": "o-1", "status": "waiting"})


async def test_so_it_is_under_asgi(settings):
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, [CONTEXT, OURS]
    answer = await AsyncClient().get("/afail/input", headers={"X-Correlation-ID": "c-1"})
    assert (answer.status_code, answer.json()["correlation_id"]) == (422, "c-1")


@on("default")
@pytest.mark.parametrize("view", PATHS)
def test_without_the_context_middleware_the_id_is_the_headers(home, get, view):
    answer = get(f"{view}/input", OURS, **{"X-Correlation-ID": "c-1"})
    assert answer.json()["correlation_id"] == "c-1"


@on("default")
@pytest.mark.parametrize("view", PATHS)
def test_what_the_project_got_wrong_stays_a_500(home, get, view):
    for name in ("code", "other"):
        answer = get(f"{view}/{name}", CONTEXT, OURS)
        assert (answer.status_code, answer.headers["Content-Type"]) == (500, "text/html; charset=utf-8")


@on("default")
@pytest.mark.parametrize("view", PATHS)
def test_what_another_middleware_below_answers_stays_as_that_has_it(home, get, view):
    own = f"{__name__}.own_page"
    assert get(f"{view}/input", CONTEXT, OURS, own).content == b"InvalidInput"
    above = [get(f"{view}/{name}", CONTEXT, own, OURS) for name in ("input", "code")]
    assert [answer.status_code for answer in above] == [422, 418]


@on("default")
def test_views_of_rest_framework_and_of_ninja_are_answered_too(home, get):
    pytest.importorskip("rest_framework")
    pytest.importorskip("ninja")
    for view in ("rest", "ninja"):
        answer = get(f"/{view}/input", CONTEXT, OURS)
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM), view
        assert get(f"/{view}/other", CONTEXT, OURS).status_code == 500


@on("default")
def test_what_the_view_has_written_in_its_transaction_is_rolled_back(home, get, settings):
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    try:
        assert get("/fail/input", OURS).status_code == 422
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
    assert not Order.objects.exists()

"""Each request's correlation id, and sagas in views of both kinds, under test clients and real servers."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from asgiref.sync import AsyncToSync, SyncToAsync, async_to_sync
from django.test import AsyncClient, Client, LiveServerTestCase, RequestFactory
from places import on
from testproject import urls as views
from testproject.shop.models import Order

from django_sagaz import UsageError
from django_sagaz.middleware import SagaContextMiddleware
from django_sagaz.models import Run
from sagaz_integration_core.context import correlation as context

HEADER = {"X-Correlation-ID": "abc-123"}


@pytest.mark.parametrize("path", ["/who", "/who_async"])
def test_the_test_client_sees_the_id_of_the_request(path):
    answer = Client(headers=HEADER).get(path)
    assert (answer.json()["id"], answer.headers["X-Correlation-ID"]) == ("abc-123", "abc-123")
    made = Client().get(path)
    assert made.json()["id"] == made.headers["X-Correlation-ID"] != "abc-123"
    assert context.correlation_id() is None


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/who", "/who_async"])
async def test_the_async_client_sees_the_same(path):
    answer = await AsyncClient().get(path, headers=HEADER)
    assert (answer.json()["id"], answer.headers["X-Correlation-ID"]) == ("abc-123", "abc-123")
    assert context.correlation_id() is None


def test_an_unsafe_id_is_replaced():
    answer = Client(headers={"X-Correlation-ID": "a b\x01"}).get("/who")
    assert answer.json()["id"] == answer.headers["X-Correlation-ID"] != "a b\x01"


@pytest.mark.parametrize("path", ["/boom", "/boom_async"])
def test_an_exception_in_a_view_resets_the_context(path):
    client = Client(headers=HEADER, raise_request_exception=False)
    answer = client.get(path)
    assert (answer.status_code, answer.headers["X-Correlation-ID"]) == (500, "abc-123")
    assert context.correlation_id() is None


@pytest.mark.parametrize("path", ["/boom", "/boom_async"])
async def test_so_does_one_under_asgi(path):
    answer = await AsyncClient(raise_request_exception=False).get(path, headers=HEADER)
    assert (answer.status_code, answer.headers["X-Correlation-ID"]) == (500, "abc-123")
    assert context.correlation_id() is None


@on("default", "pg")
@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/run_without_await", r"has to be awaited, and nothing was run. In a synchronous view: run_saga"),
        ("/run_blocking", r"would block the event loop. Use `saga = await async_saga_factory"),
    ],
)
def test_a_saga_that_is_run_in_the_wrong_kind_of_view_says_what_belongs_there(home, path, instead):
    with pytest.raises(UsageError, match=instead):
        Client().post(path, {"db": home, "name": "one"}, content_type="application/json")
    assert not Run.objects.using(home).exists()


async def test_an_exception_that_passes_the_asynchronous_middleware_resets_the_context():
    async def fail(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await SagaContextMiddleware(fail)(RequestFactory().get("/"))
    assert context.correlation_id() is None


def test_the_middleware_changes_the_thread_of_no_synchronous_request():
    assert Client().get("/thread").json()["thread"] == threading.get_ident()


async def test_nor_of_an_asynchronous_one(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a thread was asked for")

    assert (await AsyncClient().get("/thread_async")).json()["thread"] == threading.get_ident()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
    monkeypatch.setattr(SyncToAsync, "__call__", refuse)
    monkeypatch.setattr(AsyncToSync, "__call__", refuse)
    answer = await SagaContextMiddleware(views.thread_async)(RequestFactory().get("/"))
    assert json.loads(answer.content)["thread"] == threading.get_ident()


def test_an_exception_that_passes_the_middleware_resets_the_context():
    def fail(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        SagaContextMiddleware(fail)(RequestFactory().get("/"))
    assert context.correlation_id() is None


def test_the_name_of_the_header_can_be_set(settings):
    settings.SAGAZ = {"HEADER_NAME": "X-Request-ID"}
    answer = Client(headers={"X-Request-ID": "r-1"}).get("/who")
    assert (answer.json()["id"], answer.headers["X-Request-ID"]) == ("r-1", "r-1")


@on("default", "pg")
@pytest.mark.parametrize("path", ["/run", "/run_async"])
def test_a_view_runs_a_saga_with_the_requests_id(home, path):
    Order.objects.using(home).create(name="one")
    body = {"db": home, "name": "one"}
    answer = Client(headers=HEADER).post(path, body, content_type="application/json").json()
    run = Run.objects.using(home).get()
    assert (answer["saga_id"], answer["status"], run.status) == (run.saga_id, "completed", "completed")
    assert (run.correlation_id, run.context["correlation_id"]) == ("abc-123", "abc-123")
    assert Order.objects.using(home).get().paid


SERVERS = {
    "gunicorn": ["-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4", "testproject.wsgi"],
    "uvicorn": ["-m", "uvicorn", "testproject.asgi:application", "--lifespan", "off"],
    "runserver": ["-m", "django", "runserver"],
}


@pytest.fixture
def served(elsewhere, request):
    """The address of a real server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    name = request.param
    place = {"gunicorn": ["--bind", f"127.0.0.1:{port}"], "uvicorn": ["--port", str(port)]}
    process = elsewhere(*SERVERS[name], *place.get(name, [f"127.0.0.1:{port}"]))
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/who", trust_env=False)
        except httpx.TransportError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        else:
            break
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert "Traceback" not in said, said


@on("default", "pg")
@pytest.mark.parametrize("served", SERVERS, indirect=True)
def test_a_real_server_runs_sagas_of_concurrent_requests(home, served):
    count = 12 if home == "default" else 40

    def post(n):
        path = ("/run", "/run_async", "/start")[n % 3]
        body = {"db": home, "name": str(n)}
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(served + path, json=body, headers={"X-Correlation-ID": f"c-{n}"})
        assert answer.status_code == 200, answer.text[:2000]
        assert answer.headers["X-Correlation-ID"] == f"c-{n}"
        return answer.json()["saga_id"], f"c-{n}", "pending" if path == "/start" else "completed"

    with ThreadPoolExecutor(6) as clients:
        expected = set(clients.map(post, range(count)))
    assert set(Run.objects.using(home).values_list("saga_id", "correlation_id", "status")) == expected
    with httpx.Client(trust_env=False) as client:
        answer = client.get(served + "/stream", headers=HEADER)
        assert answer.headers["X-Correlation-ID"] == "abc-123"
        assert json.loads(client.get(served + "/who").text)["id"]


class LiveServer(LiveServerTestCase):
    """The three ways to send a request to a test project tell the same story."""

    databases = {"default"}

    def test_clients_and_a_live_server_agree_on_correlation_ids(self):
        given = {"X-Correlation-ID": "abc-123"}, {"X-Correlation-ID": "a b"}, {}
        for path in ("/who", "/who_async", "/boom", "/boom_async"):
            seen = [self.everywhere(path, headers) for headers in given]
            assert seen[0] == [(500 if "boom" in path else 200, "abc-123")] * 3
            # One that is unsafe, or missing, is replaced by all of them, each time by another.
            replaced = [id_ for _, id_ in seen[1] + seen[2]]
            assert len(set(replaced)) == 6
            assert not {"a b", "", None} & set(replaced)
            assert context.correlation_id() is None

    def everywhere(self, path, headers):
        sync = Client(raise_request_exception=False).get(path, headers=headers)
        asynchronous = async_to_sync(AsyncClient(raise_request_exception=False).get)(path, headers=headers)
        live = httpx.get(self.live_server_url + path, headers=headers, trust_env=False)
        for answer in (sync, asynchronous, live):
            if answer.status_code == 200:
                assert answer.json()["id"] == answer.headers["X-Correlation-ID"]
        return [(answer.status_code, answer.headers["X-Correlation-ID"]) for answer in (sync, asynchronous, live)]

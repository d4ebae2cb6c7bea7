"""The blueprint of routes about sagas: hooks, addresses, forged requests, bodies, and whatever else clients send."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys

import flask_wtf.csrf
import pytest
from flask import Blueprint, Flask, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_sagaz import Saga, SagazExtension, SettingsError, UsageError, action, current_step
from support.answers import Ask
from support.http_asks import asks, faults_of
from support.wsgi import WsgiClient

MIA, MAX = {"User": "mia"}, {"User": "max"}
JSON = {"Content-Type": "application/json"}
ELSEWHERE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


class Paid(Saga):
    saga_name = "paid"

    @action("pay")
    async def pay(self, ctx):
        await current_step().signal("paid")


def may(asked, verb, subject):
    return asked.headers.get("User") == "mia"


@pytest.fixture
def shop(make_app):
    """An application with the routes, and a view that starts a run."""

    def shop(storage_url="memory://", *, register=True, app_options=None, **options):
        app, sagaz = make_app(storage_url, sagas=[Paid], **(app_options or {}))
        app.config.update(SECRET_KEY="s")
        rules = {"authorize": may, "actor": lambda asked: asked.headers["User"], "longest_wait": 1, **options}
        routes = sagaz.blueprint(**rules)
        app.extensions["routes"] = routes

        @app.post("/orders")
        def place():
            return routes.accepted(Paid, sagaz.start(Paid, {"order": 1}))

        if register:
            app.register_blueprint(routes)
            app.register_blueprint(sagaz.health_blueprint())
        return app

    return shop


def started(app, **headers):
    """Start a run, and return its address."""
    answer = app.test_client().post("/orders", headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def problem(answer):
    assert answer.mimetype == "application/problem+json", answer.text
    return answer.status_code, answer.json["type"].rpartition("#")[2]


def test_a_run_is_shown_to_those_who_may_see_it_and_to_nobody_else(shop):
    app = shop()
    location, client = started(app), app.test_client()
    assert client.get(location, headers=MIA).json["saga"] == "paid"
    assert problem(client.get(location, headers=MAX)) == (404, "not-found")
    assert problem(shop(authorize=None).test_client().get("/sagas", headers=MIA)) == (404, "not-found")


def test_what_a_client_has_already_is_answered_without_a_body_or_a_type(shop, until):
    app = shop()
    location, client = started(app), app.test_client()
    until(lambda: client.get(location, headers=MIA).json["status"] == "waiting", "the run waits")
    etag = client.get(location, headers=MIA).headers["ETag"]
    again = client.get(location, headers={**MIA, "If-None-Match": etag})
    assert (again.status_code, again.data, again.headers.get("Content-Type")) == (304, b"", None)
    assert again.headers["ETag"] == etag


def test_hooks_get_the_request_itself_and_may_be_asynchronous(shop):
    seen = []

    async def amay(asked, verb, subject):
        await asyncio.sleep(0)
        seen.append((asked, verb, subject.saga_name))
        return True

    app = shop(authorize=amay)
    location = started(app)
    with app.test_client() as client:
        assert client.get(location).status_code == 200
        [(asked, *told)] = seen
        assert asked is request._get_current_object()
        assert told == ["read", "paid"]


def test_a_run_that_does_not_end_in_time_is_answered_as_accepted(shop):
    answer = shop().test_client().post("/orders", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")


def test_addresses_are_those_of_where_the_blueprint_is(shop):
    app = shop(register=False)
    parent = Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(app.extensions["routes"], name="runs")
    app.register_blueprint(parent)
    answer = app.test_client().post("/orders", base_url="http://evil.example/shop")
    assert answer.headers["Location"].startswith("/shop/api/sagas/")
    inner = answer.headers["Location"].removeprefix("/shop")
    assert app.test_client().get(inner, headers=MIA).status_code == 200


def test_a_blueprint_that_is_not_registered_has_no_addresses(shop):
    app = shop(register=False)
    app.testing = True
    with pytest.raises(UsageError, match="register_blueprint"):
        app.test_client().post("/orders")


def test_two_blueprints_of_one_application_have_names_of_their_own(shop):
    app = shop()
    app.register_blueprint(app.extensions["sagaz"].extension.blueprint(prefix="/support", name="support"))
    client = app.test_client()
    assert client.get("/sagas", headers=MIA).status_code == 200
    assert problem(client.get("/support", headers=MIA)) == (404, "not-found")


@pytest.mark.parametrize("wrong", [{"authorize": "mia"}, {"shows": "order_id"}, {"trusted_origins": ["shop.example"]}])
def test_what_cannot_be_meant_is_refused_when_the_blueprint_is_made(wrong):
    with pytest.raises(SettingsError):
        SagazExtension().blueprint(**wrong)


def protected(app, **config):
    """Have Flask-WTF check requests, and hand out its token."""
    app.config.update(config)
    csrf = flask_wtf.csrf.CSRFProtect(app)
    app.view_functions["place"] = csrf.exempt(app.view_functions["place"])
    app.get("/token")(flask_wtf.csrf.generate_csrf)
    return csrf


def test_where_flask_wtf_checks_requests_its_token_is_what_counts(shop):
    app = shop()
    protected(app)
    location, client = started(app), app.test_client()
    cancel = f"{location}/cancel"
    assert client.post(cancel, headers=MIA).status_code == 400
    # It looks at the token, and not at what the browser says: ours is not asked besides.
    token = {"X-CSRFToken": client.get("/token").text}
    assert client.post(cancel, headers={**MIA, **token, **ELSEWHERE}).status_code == 200
    assert client.get(location, headers=MIA).status_code == 200


@pytest.mark.parametrize("how", ["absent", "off", "exempt"])
def test_where_it_does_not_the_page_that_a_browser_names_is_looked_at(shop, how):
    app = shop()
    if how != "absent":
        csrf = protected(app, WTF_CSRF_ENABLED=how != "off")
        if how == "exempt":
            csrf.exempt(app.extensions["routes"])
    cancel, client = f"{started(app)}/cancel", app.test_client()
    assert problem(client.post(cancel, headers={**MIA, **ELSEWHERE})) == (403, "cross-site-request")
    assert client.post(cancel, headers={**MIA, "Sec-Fetch-Site": "same-origin"}).status_code == 200


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}


class Endless(io.RawIOBase):
    """A body that has no end, sent in small pieces."""

    read_bytes = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), 8_192)
        buffer[:size] = b"x" * size
        self.read_bytes += size
        return size


def test_of_a_body_that_is_too_large_no_more_is_read_than_tells_that(shop):
    app = shop()
    cancel, body = f"{started(app)}/cancel", Endless()
    served = {"wsgi.input": body, "CONTENT_LENGTH": str(10**12)}
    answer = app.test_client().post(cancel, environ_overrides=served, headers={**MIA, **JSON})
    assert problem(answer) == (413, "body-too-large")
    with app.app_context():
        assert body.read_bytes < app.extensions["sagaz"].settings.max_context_bytes + 100_000


class Broken(io.RawIOBase):
    """A body whose chunks are malformed."""

    def readable(self):
        return True

    def readinto(self, buffer):
        raise ValueError("invalid chunk size")


def test_a_body_that_cannot_be_read_is_the_clients_fault(shop):
    app = shop()
    cancel, served = f"{started(app)}/cancel", {**CHUNKED, "wsgi.input": Broken(), "wsgi.input_terminated": True}
    answer = app.test_client().post(cancel, environ_overrides=served, headers={**MIA, **JSON})
    assert problem(answer) == (400, "body-unreadable")


def test_a_body_in_chunks_is_refused_where_the_server_does_not_tell_its_end(shop, caplog):
    app = shop()
    cancel, served = f"{started(app)}/cancel", {**CHUNKED, "wsgi.input": io.BytesIO(b"{}")}
    served["wsgi.input_terminated"] = False
    answer = app.test_client().post(cancel, environ_overrides=served, headers={**MIA, **JSON})
    assert problem(answer) == (411, "length-required")
    assert "this server does not say where it ends (wsgi.input_terminated)" in caplog.text


def test_the_applications_own_limit_of_bodies_comes_first(shop):
    app = shop()
    cancel = f"{started(app)}/cancel"
    app.config["MAX_CONTENT_LENGTH"] = 10
    answer = app.test_client().post(cancel, data=b" " * 20, headers={**MIA, **JSON})
    assert problem(answer) == (413, "body-too-large")


def test_a_body_that_the_application_has_read_before_counts(shop):
    app = shop()

    @app.before_request
    def read():
        request.get_data()

    cancel = f"{started(app)}/cancel"
    assert problem(app.test_client().post(cancel, json={"x": 1}, headers=MIA)) == (422, "invalid-input")


def test_a_store_that_cannot_be_opened_is_a_503_that_says_when_to_ask_again(shop, tmp_path):
    app = shop(f"sqlite:///{tmp_path / 'none' / 'sagas.db'}")
    answer = app.test_client().get("/sagas", headers=MIA)
    assert problem(answer) == (503, "store-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert app.test_client().get("/health/readiness").status_code == 503
    assert app.test_client().get("/health/liveness").json == {"status": "ok"}


@pytest.fixture(scope="module")
def hostile():
    """An application that is asked thousands of things, and the address of one of its runs."""
    app = Flask("shop")
    app.config.update(SAGAZ_STORAGE_URL="memory://")
    sagaz = SagazExtension(app, sagas=[Paid])
    routes = sagaz.blueprint(authorize=may, actor=lambda asked: "mia", shows=["order"], tells_errors=True)
    app.register_blueprint(routes)
    with app.test_request_context("/"):
        location = routes.accepted(Paid, sagaz.start(Paid, {"order": "\x1b[2J"})).headers["Location"]
    yield WsgiClient(app), location
    with app.app_context():
        sagaz.close()


@pytest.mark.parametrize("path", ["/sagas//graph?saga=%1F", "/sagas//graph?saga=%0A"])
def test_an_empty_id_is_not_found_and_nothing_of_the_request_is_repeated(hostile, path):
    client, _ = hostile
    answer = asyncio.run(client.request(Ask("GET", path)))
    assert answer.status == 404
    assert "location" not in {name.lower() for name, _ in answer.headers}


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_nothing_that_a_client_sends_is_the_servers_fault(hostile, data):
    client, location = hostile
    ask = data.draw(asks(MIA, location))
    assert faults_of(asyncio.run(client.request(ask))) == []


def test_an_application_without_the_blueprint_does_not_load_it():
    shown = "print([name for name in sys.modules if 'sagaz' in name and '.http.' in name])"
    program = f"import sys; from flask_sagaz import SagazExtension, current_sagaz; {shown}"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded == "['flask_sagaz.http.serving']\n"

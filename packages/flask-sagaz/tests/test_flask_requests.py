"""The correlation id: on g, in sagas and log records, in the response, and gone after the request."""

from __future__ import annotations

import logging

import pytest
from flask import Blueprint, Flask, Response, abort, g, stream_with_context

from flask_sagaz import Saga, SagazExtension, action
from sagaz_integration_core.context.correlation import correlation_id

HEADER = "X-Correlation-ID"


@pytest.fixture
def shop(make_app):
    app, _ = make_app()

    @app.get("/")
    def look():
        return {"g": g.correlation_id, "bound": correlation_id()}

    return app


def test_a_sent_id_is_on_g_and_in_the_response(shop):
    answer = shop.test_client().get("/", headers={HEADER: "mine-1"})
    assert (answer.headers[HEADER], answer.json) == ("mine-1", {"g": "mine-1", "bound": "mine-1"})
    assert correlation_id() is None


def test_a_request_without_an_id_or_with_an_unsafe_one_gets_a_fresh_one(shop):
    client = shop.test_client()
    seen = [client.get("/", headers=headers) for headers in ({}, {HEADER: "<script>"}, {HEADER: "x" * 129})]
    assert [answer.headers[HEADER] for answer in seen] == [answer.json["g"] for answer in seen]
    assert len({answer.headers[HEADER] for answer in seen}) == 3
    assert {len(answer.headers[HEADER]) for answer in seen} == {36}


def test_the_header_can_have_another_name(make_app):
    app, _ = make_app(config={"SAGAZ_HEADER_NAME": "X-Request-ID"})
    answer = app.test_client().get("/", headers={"X-Request-ID": "r-1"})
    assert (answer.headers["X-Request-ID"], answer.headers.get(HEADER)) == ("r-1", None)


@pytest.mark.parametrize("propagate", [True, False])
def test_the_id_goes_into_the_context_of_sagas_unless_it_is_kept_out(make_app, propagate):
    class Telling(Saga):
        saga_name = "telling"

        @action("tell")
        async def tell(self, ctx):
            return {"seen": [ctx.get("correlation_id"), correlation_id()]}

    app, sagaz = make_app(propagate_to_context=propagate)
    app.post("/")(lambda: dict(sagaz.run_sync(sagaz.create_saga(Telling))))
    answer = app.test_client().post("/", headers={HEADER: "c-1"})
    assert answer.json["seen"] == ["c-1" if propagate else None, "c-1"]


def test_errors_carry_the_id_and_leave_nothing_behind(shop):
    @shop.get("/boom")
    def boom():
        raise LookupError("boom")

    @shop.get("/abort")
    def refuse():
        abort(418)

    client = shop.test_client()
    for path, status in (("/boom", 500), ("/abort", 418), ("/nowhere", 404)):
        answer = client.get(path, headers={HEADER: "lost"})
        assert (answer.status_code, answer.headers[HEADER]) == (status, "lost")
        assert correlation_id() is None


def test_an_exception_that_gets_out_names_its_request(shop):
    @shop.get("/boom")
    def boom():
        raise LookupError("boom")

    shop.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(LookupError) as failure:
        shop.test_client().get("/boom", headers={HEADER: "c-9"})
    assert failure.value.__notes__ == ["correlation_id: c-9"]
    assert correlation_id() is None


def test_steps_have_the_id_on_their_own_g(make_app):
    class Telling(Saga):
        saga_name = "telling"

        @action("tell")
        def tell(self, ctx):
            return {"seen": g.correlation_id}

    app, sagaz = make_app()
    app.post("/")(lambda: dict(sagaz.run_sync(sagaz.create_saga(Telling))))
    assert app.test_client().post("/", headers={HEADER: "c-2"}).json["seen"] == "c-2"


def test_an_application_may_have_a_g_of_its_own(make_app):
    class Own:
        def __init__(self):
            self.mine = 1

    app = Flask("shop")
    app.app_ctx_globals_class = Own
    SagazExtension(app, storage_url="memory://")
    app.get("/")(lambda: {"seen": [g.mine, g.correlation_id]})
    assert app.test_client().get("/", headers={HEADER: "c"}).json["seen"] == [1, "c"]


def test_a_header_of_the_view_s_own_is_not_doubled(shop):
    shop.get("/own")(lambda: ("", {HEADER.lower(): "other"}))
    assert shop.test_client().get("/own", headers={HEADER: "c"}).headers.getlist(HEADER) == ["c"]


def test_files_are_sent_by_the_server_itself(shop, tmp_path):
    from flask import send_file

    (tmp_path / "file").write_bytes(b"x" * 100_000)
    shop.get("/file")(lambda: send_file(tmp_path / "file"))
    with shop.test_client().get("/file", headers={HEADER: "c"}) as answer:
        assert (len(answer.data), answer.headers[HEADER]) == (100_000, "c")


def test_a_function_that_answers_before_ours_gets_the_header_too():
    app = Flask("shop")
    app.before_request(lambda: ("closed", 503))
    SagazExtension(app, storage_url="memory://")
    answer = app.test_client().get("/", headers={HEADER: "early"})
    assert (answer.status_code, answer.headers[HEADER]) == (503, "early")
    assert correlation_id() is None


def test_every_function_of_the_request_sees_the_id_to_its_teardown_and_then_nobody_does(make_app):
    app, _ = make_app()
    seen = []
    part = Blueprint("part", __name__)

    @part.get("/")
    def view():
        seen.append(("view", correlation_id()))
        return ""

    part.before_request(lambda: seen.append(("before", correlation_id())))
    part.after_request(lambda response: (seen.append(("after", correlation_id())), response)[1])
    part.teardown_request(lambda error: seen.append(("teardown", correlation_id())))
    app.register_blueprint(part)
    app.teardown_appcontext(lambda error: seen.append(("context", correlation_id())))
    app.test_client().get("/", headers={HEADER: "c"})
    assert seen == [("before", "c"), ("view", "c"), ("after", "c"), ("teardown", "c"), ("context", "c")]
    assert correlation_id() is None


def test_requests_within_one_application_context_do_not_see_each_others_ids(shop):
    with shop.app_context():
        g.correlation_id = "of the test"
        assert shop.test_client().get("/", headers={HEADER: "first"}).json["g"] == "first"
        assert g.correlation_id == "of the test"
        del g.correlation_id
        shop.test_client().get("/")
        assert "correlation_id" not in g
        assert correlation_id() is None


def test_a_request_inside_a_request_gives_the_id_back(shop):
    @shop.get("/outer")
    def outer():
        inner = shop.test_client().get("/", headers={HEADER: "inner"}).json
        return {"inner": inner["bound"], "outer": [g.correlation_id, correlation_id()]}

    answer = shop.test_client().get("/outer", headers={HEADER: "outer"})
    assert answer.json == {"inner": "inner", "outer": ["outer", "outer"]}


def pieces():
    try:
        for _ in range(3):
            yield f"{correlation_id()} "
    finally:
        closed.append(correlation_id())


closed: list[object] = []


@pytest.mark.parametrize("keep_context", [False, True])
def test_a_streamed_body_sees_the_id_to_its_end_and_nobody_in_between(make_app, keep_context):
    app, _ = make_app()
    closed.clear()

    @app.get("/")
    def stream():
        return Response(stream_with_context(pieces()) if keep_context else pieces())

    response = app.test_client().get("/", headers={HEADER: "s"}, buffered=False)
    body = iter(response.response)
    assert next(body) == b"s "
    if not keep_context:
        assert correlation_id() is None
    assert list(body) == [b"s ", b"s "]
    response.close()
    assert (closed, correlation_id()) == (["s"], None)


def test_a_stream_that_keeps_its_context_has_the_id_on_g(make_app):
    app, _ = make_app()

    @app.get("/")
    @stream_with_context
    def stream():
        for _ in range(3):
            yield f"{g.correlation_id} "

    with app.app_context():
        response = app.test_client().get("/", headers={HEADER: "s"})
        assert response.get_data() == b"s s s "
        response.close()
        assert "correlation_id" not in g


@pytest.mark.parametrize("keep_context", [False, True])
def test_a_client_that_leaves_in_the_middle_of_a_stream_leaves_nothing_behind(make_app, keep_context):
    app, _ = make_app()
    closed.clear()

    @app.get("/")
    def stream():
        return Response(stream_with_context(pieces()) if keep_context else pieces())

    response = app.test_client().get("/", headers={HEADER: "s"}, buffered=False)
    assert next(iter(response.response)) == b"s "
    response.close()
    assert (closed, correlation_id()) == (["s"], None)


def test_a_stream_that_fails_leaves_nothing_behind(make_app):
    app, _ = make_app()

    @app.get("/")
    def stream():
        def broken():
            yield "one"
            raise LookupError(correlation_id())

        return Response(broken())

    with pytest.raises(LookupError, match="s-1"):
        app.test_client().get("/", headers={HEADER: "s-1"}).get_data()
    assert correlation_id() is None


def test_log_records_of_a_request_carry_its_id(make_app, caplog, OrderSaga):
    app, sagaz = make_app()

    @app.post("/")
    def log():
        saga = sagaz.create_saga(OrderSaga)
        logging.getLogger("shop").warning("hello")
        sagaz.run_sync(saga, {"order_id": 1})
        return ""

    app.test_client().post("/", headers={HEADER: "c-3"})
    assert [record.correlation_id for record in caplog.records if record.name == "shop"] == ["c-3"]

"""The correlation id: accepted or made, bound, sent back, and always reset."""

import asyncio
import re

import pytest
from fastapi import FastAPI, HTTPException, Response, WebSocket
from fastapi.responses import StreamingResponse
from sagaz.integrations import SagaContextManager

from fastapi_sagaz import (
    SagaContextMiddleware,
    SettingsError,
    create_lifespan,
)
from sagaz_integration_core.context.correlation import correlation_id

FRESH = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def application(**options):
    app = FastAPI(lifespan=create_lifespan())
    app.add_middleware(SagaContextMiddleware, **options)

    @app.get("/id")
    async def get():
        return [correlation_id(), SagaContextManager.get("correlation_id")]

    @app.get("/sync")
    def get_sync():
        return correlation_id()

    return app


async def test_a_given_id_is_bound_and_sent_back(serve):
    async with serve(application()) as client:
        for path, expected in (("/id", ["cart-7", "cart-7"]), ("/sync", "cart-7")):
            answer = await client.get(path, headers={"x-CORRELATION-id": "cart-7"})
            assert answer.json() == expected
            assert answer.headers.get_list("x-correlation-id") == ["cart-7"]


async def test_without_a_header_a_fresh_id_is_made_for_each_request(serve):
    async with serve(application()) as client:
        answers = [await client.get("/sync") for _ in range(2)]
    ids = [answer.json() for answer in answers]
    assert [answer.headers["x-correlation-id"] for answer in answers] == ids
    assert all(FRESH.fullmatch(one) for one in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"a b",
        b"x" * 129,
        b"a\r\nSet-Cookie: x=1",
        b"caf\xe9",
        b"a,b",
        b"<script>",
        b"\x00",
        b"a\t",
        b"{jndi:ldap}",
    ],
)
async def test_an_unsafe_id_is_replaced_and_counted_but_never_repeated(serve, caplog, bad):
    app = application()
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/sync",
        "raw_path": b"/sync",
        "query_string": b"",
        "scheme": "http",
    }
    async with serve(app):
        await app({**scope, "headers": [(b"x-correlation-id", bad)]}, receive, send)
    [header] = [value for name, value in sent[0]["headers"] if name == b"x-correlation-id"]
    assert FRESH.fullmatch(header.decode())
    [record] = [record for record in caplog.records if "correlation id was replaced" in record.message]
    assert len(bad) < 3 or bad.decode("latin-1") not in record.message


@pytest.mark.parametrize("good", ["a", "x" * 128, "req:7/a+b=c@d.e_f~g-h"])
async def test_every_safe_id_is_accepted(serve, good):
    async with serve(application()) as client:
        assert (await client.get("/sync", headers={"X-Correlation-ID": good})).json() == good


async def test_a_header_that_the_application_sets_is_replaced(serve):
    app = application()

    @app.get("/own")
    async def own(response: Response):
        response.headers["X-Correlation-ID"] = "mine"
        response.headers.append("Set-Cookie", "a=1")
        response.headers.append("Set-Cookie", "b=2")

    async with serve(app) as client:
        answer = await client.get("/own", headers={"X-Correlation-ID": "cart-7"})
    assert answer.headers.get_list("x-correlation-id") == ["cart-7"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_another_header_can_be_used(serve, monkeypatch):
    async with serve(application(header_name="X-Request-ID")) as client:
        answer = await client.get("/sync", headers={"X-Request-ID": "r1", "X-Correlation-ID": "no"})
    assert (answer.json(), answer.headers["x-request-id"]) == ("r1", "r1")
    assert "x-correlation-id" not in answer.headers
    monkeypatch.setenv("SAGAZ_HEADER_NAME", "X-Trace")
    async with serve(application()) as client:
        assert (await client.get("/sync", headers={"X-Trace": "t1"})).headers["x-trace"] == "t1"


@pytest.mark.parametrize("name", ["", "X Correlation", "X-Korrelación", "X:Y", "X\r\nY", "a" * 101])
def test_a_header_name_that_is_none_is_refused_at_once(name):
    with pytest.raises(SettingsError, match="header_name"):
        SagaContextMiddleware(FastAPI(), header_name=name)


async def test_a_streaming_body_keeps_the_id_to_its_end(serve):
    app = application()

    @app.get("/stream")
    async def stream():
        async def body():
            for _ in range(3):
                yield f"{correlation_id()} "
                await asyncio.sleep(0)

        return StreamingResponse(body())

    @app.get("/stream-sync")
    def stream_sync():
        return StreamingResponse(f"{correlation_id()} " for _ in range(3))

    async with serve(app) as client:
        for path in ("/stream", "/stream-sync"):
            assert (await client.get(path, headers={"X-Correlation-ID": "s"})).text == "s s s "
    assert correlation_id() is None


async def test_concurrent_requests_do_not_see_each_others_id(serve):
    app = application()

    @app.get("/slow")
    async def slow():
        before = correlation_id()
        await asyncio.sleep(0.01)
        return [before, correlation_id(), SagaContextManager.get("correlation_id")]

    async with serve(app) as client:
        answers = await asyncio.gather(*(client.get("/slow", headers={"X-Correlation-ID": f"c{n}"}) for n in range(50)))
    assert [answer.json() for answer in answers] == [[f"c{n}"] * 3 for n in range(50)]


async def test_it_is_reset_after_an_exception_which_names_it(serve):
    app = application()

    @app.get("/bug")
    async def bug():
        raise ZeroDivisionError

    @app.get("/http")
    async def http():
        raise HTTPException(404)

    async with serve(app) as client:
        with pytest.raises(ZeroDivisionError) as caught:
            await client.get("/bug", headers={"X-Correlation-ID": "b"})
        assert correlation_id() is None
        assert (await client.get("/http", headers={"X-Correlation-ID": "b"})).headers["x-correlation-id"] == "b"
        assert (await client.get("/nowhere", headers={"X-Correlation-ID": "b"})).headers["x-correlation-id"] == "b"
    assert caught.value.__notes__ == ["correlation_id: b"]


async def test_wrapped_around_the_whole_application_it_marks_unhandled_errors_too(serve, order_saga):
    app = FastAPI(lifespan=create_lifespan())

    @app.get("/bug")
    async def bug():
        raise ZeroDivisionError

    async with serve(SagaContextMiddleware(app), raise_app_exceptions=False) as client:
        answer = await client.get("/bug", headers={"X-Correlation-ID": "b"})
    assert (answer.status_code, answer.headers["x-correlation-id"]) == (500, "b")


async def test_a_websocket_gets_the_id_with_its_acceptance(serve, websocket):
    app = application()

    @app.websocket("/ws")
    async def talk(socket: WebSocket):
        await socket.accept(headers=[(b"X-Correlation-ID", b"mine"), (b"x-other", b"1")])
        await socket.send_text(str(correlation_id()))
        await socket.close()

    async with serve(app):
        sent = await websocket(app, "/ws", headers=((b"x-correlation-id", b"w"),))
    assert sent[0]["type"] == "websocket.accept"
    assert sent[0]["headers"] == [(b"x-other", b"1"), (b"x-correlation-id", b"w")]
    assert sent[1]["text"] == "w"
    assert correlation_id() is None


async def test_a_refused_websocket_gets_the_id_too(serve, websocket):
    app = application()

    @app.websocket("/ws")
    async def talk(socket: WebSocket):
        await socket.send_denial_response(Response(status_code=403))

    async with serve(app):
        sent = await websocket(app, "/ws", headers=((b"x-correlation-id", b"w"),))
    assert sent[0]["type"] == "websocket.http.response.start"
    assert (b"x-correlation-id", b"w") in sent[0]["headers"]


async def test_a_message_that_the_application_keeps_is_left_as_it_is():
    start = {"type": "http.response.start", "status": 200}
    sent = []

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body"})

    async def send(message):
        sent.append(message)

    await SagaContextMiddleware(app)({"type": "http", "headers": [(b"x-correlation-id", b"k")]}, None, send)
    assert start == {"type": "http.response.start", "status": 200}
    assert sent[0]["headers"] == [(b"x-correlation-id", b"k")]

"""FastAPI: a lifespan, dependencies and the middleware, as the tutorial writes them."""

# Without `from __future__ import annotations`: FastAPI finds no names for strings in functions that make endpoints.

import asyncio
from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, Request, Response, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse

from contract.driver import (
    Boom,
    Driver,
    accepted,
    once,
    permits,
    pieces,
    raised,
    ran,
    signalled,
    told,
    webhook_sources,
    who,
    whoami,
)
from contract.drivers._orders import Orders
from fastapi_sagaz import (
    Idempotent,
    IdempotentRoute,
    SagaContextMiddleware,
    SagaFactory,
    Sagas,
    SagaStarter,
    Subject,
    Verb,
    create_lifespan,
    health_router,
    problem_handlers,
    run_saga_background,
    sagas_of,
    sagaz_router,
    webhook_router,
)
from fastapi_sagaz._app_state import open_app
from support.answers import Answer, Ask
from support.asgi import AsgiClient

__all__ = ["FastAPIDriver"]

saga_factory = SagaFactory()
Start = Annotated[SagaStarter, Depends()]
Key = Annotated[str | None, Header(alias="Idempotency-Key")]
Deadline = Annotated[datetime | None, Header()]
Owner = Annotated[str | None, Header()]
Then = Annotated[str, Header()]
RunId = Annotated[str | None, Header(alias="Run-Id")]


class FastAPIDriver(Driver):
    """One FastAPI application, called over ASGI in the test's own event loop."""

    name = "fastapi"
    package = "fastapi_sagaz"
    capabilities = frozenset(
        (
            "inline",
            "own_store",
            "background",
            "deferred",
            "embedded_worker",
            "streaming",
            "websocket",
            "disconnect",
            "lifespan",
            "several",
            "sagas",
            "webhooks",
            "own_commits",
            "repeatable",
            "signals",
            "http",
        )
        + ("header_name", "propagate")
        + (("join_session",) if find_spec("sagaz_durable.transactions.sessions") and find_spec("sqlalchemy") else ())
    )

    def build(self) -> None:
        """Make the application, without entering its lifespan: a request now comes too early."""
        spec = self.spec
        self.orders = Orders(spec.options["STORAGE_URL"])
        options = {"SIGNING_KEYS": "k" * 32, **spec.options}
        lifespan = create_lifespan(options, sagas=spec.sagas, worker=spec.worker, lifespan=self.orders.lifespan)
        self.app = app = FastAPI(lifespan=lifespan, exception_handlers=problem_handlers)
        app.add_middleware(SagaContextMiddleware, propagate_to_context=spec.propagate)
        for name, saga_class in spec.routes.items():
            _add_saga(app, name, saga_class, self.orders)
        for name, saga_class in spec.routes.items():
            app.include_router(_once(name, saga_class, self.orders))
        _add_signals(app, self.orders)
        _add_routes(app, spec.routes)
        _add_others(app)
        self.client = AsgiClient(app)

    async def start(self) -> None:
        self.build()
        await self.client.startup()
        self.runtime = open_app(self.app).runtime

    async def stop(self) -> None:
        await self.client.shutdown()

    async def request(self, ask: Ask) -> Answer:
        return await self.client.request(ask)

    async def websocket(self, ask: Ask) -> tuple[dict[str, Any], list[Any]]:
        return await self.client.websocket(ask)

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        return await getattr(sagas_of(self.app), name)(*args, **options)

    async def own_rows(self) -> list[str]:
        return await self.orders.ids()


def _add_saga(app: FastAPI, name: str, saga_class: type, orders: Orders) -> None:
    bound = Annotated[saga_class, Depends(saga_factory(saga_class))]

    @app.post(f"/inline/{name}")
    async def inline(
        request: Request, saga: bound, key: Key = None, run_id: RunId = None, owner: Owner = None
    ) -> JSONResponse:
        try:
            run = await saga.run(await request.json(), saga_id=run_id, idempotency_key=key, owner=owner)
        except Exception as error:
            return _told(error)
        return JSONResponse(ran(run))

    @app.post(f"/background/{name}")
    async def background(
        request: Request, saga: bound, tasks: BackgroundTasks, then: str = "", owner: Owner = None
    ) -> JSONResponse:
        try:
            saga_id = await run_saga_background(tasks, saga, context=await request.json(), owner=owner)
        except Exception as error:
            return _told(error)
        if then == "raise":
            raise Boom(saga_id)
        return JSONResponse(accepted(saga_id), 202, background=tasks)

    @app.post(f"/deferred/{name}")
    async def deferred(
        request: Request, start: Start, key: Key = None, deadline: Deadline = None, owner: Owner = None
    ) -> JSONResponse:
        try:
            context = await request.json()
            saga_id = await start(saga_class, context, idempotency_key=key, deadline=deadline, owner=owner)
        except Exception as error:
            return _told(error)
        return JSONResponse(accepted(saga_id), 202)

    @app.post(f"/joined/{name}")
    async def joined(request: Request, start: Start, then: str, owner: Owner = None) -> JSONResponse:
        context = await request.json()
        try:
            async with orders.transaction(then) as session:
                await orders.add(session, context["id"])
                saga_id = await start(saga_class, context, session=session, owner=owner)
        except Exception as error:
            return _told(error)
        return JSONResponse(accepted(saga_id), 202)


def _once(name: str, saga_class: type, orders: Orders) -> APIRouter:
    router = APIRouter(route_class=IdempotentRoute)
    location = "/runs/{saga_id}"
    idempotent = Idempotent(saga_class, caller=_user, location=location)
    joined = Idempotent(saga_class, caller=_user, session=orders.session, location=location)

    @router.post(f"/once/{name}", dependencies=[Depends(idempotent)])
    async def once_(request: Request, start: Start, then: Then = "") -> Response:
        saga_id = await start(saga_class, await request.json())
        Driver.arrived.set()
        while not Driver.gate.is_set():
            await asyncio.sleep(0.01)
        return _answered(saga_id, then)

    @router.post(f"/once-joined/{name}", dependencies=[Depends(joined)])
    async def once_joined(
        request: Request, start: Start, session: Annotated[Any, Depends(orders.session)], then: Then = ""
    ) -> Response:
        context = await request.json()
        await orders.add(session, context["id"])
        saga_id = await start(saga_class, context, session=session)
        Driver.arrived.set()
        while not Driver.gate.is_set():
            await asyncio.sleep(0.01)
        return _answered(saga_id, then)

    return router


def _user(user: Annotated[str, Header()] = "") -> str:
    return user


def _answered(saga_id: str, then: str) -> Response:
    if then == "stream":
        return StreamingResponse(pieces(), 202)
    body, status, headers = once(saga_id, then)
    return Response(body, status, headers)


def _add_signals(app: FastAPI, orders: Orders) -> None:
    @app.post("/signals/{name}")
    async def signal(name: str, request: Request, sagas: Annotated[Sagas, Depends()], then: str = "") -> JSONResponse:
        body = await request.json()
        try:
            if not then:
                return JSONResponse(signalled(await _sent(sagas, name, body)))
            async with orders.transaction(then) as session:
                await orders.add(session, body["payload"]["id"])
                new = await _sent(sagas, name, body, session)
        except Exception as error:
            return _told(error)
        return JSONResponse(signalled(new))


async def _sent(sagas: Sagas, name: str, body: Any, session: Any = None) -> bool:
    if "by" not in body:
        return await sagas.send_signal(name, body["payload"], **body["to"], session=session)
    token = sagas.approval_token(name, **body["to"])
    return await sagas.decide_approval(token, body["payload"], by=body["by"], reason="asked", session=session)


def _add_routes(app: FastAPI, sagas: Mapping[str, type]) -> None:
    async def authorize(request: Request, verb: Verb, subject: Subject) -> bool:
        return permits(request.headers.get("user", ""), verb, subject)

    def actor(request: Request) -> str:
        return who(request.headers["user"])

    router = sagaz_router(authorize=authorize, actor=actor, shows=["order"], longest_wait=5)
    app.include_router(router)
    app.include_router(health_router())
    app.include_router(webhook_router(webhook_sources()))

    @app.post("/accepted/{saga}")
    async def start_and_watch(saga: str, request: Request, start: Start, owner: Owner = None) -> Response:
        saga_id = await start(sagas[saga], await request.json(), owner=owner)
        return await router.accepted(request, sagas[saga], saga_id)

    @app.post("/unhandled/{saga}")
    async def unhandled(saga: str, request: Request, start: Start, key: Key = None, then: str = "") -> dict[str, Any]:
        if then:
            raise raised(then)
        return accepted(await start(sagas[saga], await request.json(), idempotency_key=key))


def _told(error: Exception) -> JSONResponse:
    status, body = told(error)
    return JSONResponse(body, status)


def _add_others(app: FastAPI) -> None:
    @app.get("/whoami")
    async def who() -> dict[str, Any]:
        return whoami()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(), media_type="text/plain")

    @app.get("/boom")
    async def boom() -> None:
        raise Boom

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(whoami())
        await websocket.close()

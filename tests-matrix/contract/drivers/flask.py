"""Flask: the extension, Flask-SQLAlchemy for the application's own table, as the how-to writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from flask import Flask, Response, request

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
from flask_sagaz import SagazExtension, idempotent, webhook_blueprint
from support.answers import Answer, Ask
from support.wsgi import WsgiClient

__all__ = ["FlaskDriver"]


class FlaskDriver(Driver):
    """One Flask application, called over WSGI, each request in a thread of its own."""

    name = "flask"
    package = "flask_sagaz"
    capabilities = frozenset(
        (
            "inline",
            "background",
            "deferred",
            "embedded_worker",
            "streaming",
            "header_name",
            "propagate",
            "several",
            "sagas",
            "webhooks",
            "own_commits",
            "repeatable",
            "signals",
            "own_store",
            "http",
        )
        + (("join_session",) if find_spec("flask_sqlalchemy") else ())
    )

    def build(self) -> None:
        spec = self.spec
        self.app = app = Flask("shop")
        app.secret_key = "the shop's"
        app.config.update({f"SAGAZ_{name}": value for name, value in spec.options.items()})
        self.sagaz = SagazExtension(app, sagas=spec.sagas, worker=spec.worker, propagate_to_context=spec.propagate)
        self.orders = Orders(app, spec.options["STORAGE_URL"])
        _add_sagas(app, self.sagaz, spec.routes, self.orders)
        for name, saga_class in spec.routes.items():
            _add_once(app, self.sagaz, name, saga_class, self.orders)
        _add_signals(app, self.sagaz, self.orders)
        _add_routes(app, self.sagaz, spec.routes)
        _add_others(app)
        self.client = WsgiClient(app)

    async def start(self) -> None:
        self.build()
        await asyncio.to_thread(self._open)
        self.runtime = self.app.extensions["sagaz"].process().get()

    def _open(self) -> None:
        with self.app.app_context():
            # The first use opens the store, here and not in the first request, so that an error comes out here.
            assert self.sagaz.config is not None
            if self.orders.db is not None:
                self.orders.session()

    async def stop(self) -> None:
        if hasattr(self, "runtime"):
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self.app.app_context():
            self.sagaz.close()
        self.orders.close()

    async def request(self, ask: Ask) -> Answer:
        return await self.client.request(ask)

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        def call() -> Any:
            with self.app.app_context():
                return getattr(self.sagaz.sagas, f"{name}_sync")(*args, **options)

        return await asyncio.to_thread(call)

    async def own_rows(self) -> list[str]:
        return await asyncio.to_thread(self.orders.ids)


class Orders:
    """The application's own table, through Flask-SQLAlchemy; no connection is opened before it is used."""

    def __init__(self, app: Flask, storage_url: str) -> None:
        self.db: Any = None
        self._app = app
        if find_spec("flask_sqlalchemy") is not None and not storage_url.startswith("memory:"):
            from flask_sqlalchemy import SQLAlchemy

            app.config["SQLALCHEMY_DATABASE_URI"] = storage_url.replace("postgresql://", "postgresql+psycopg://")
            self.db = SQLAlchemy(app)

    def session(self) -> Any:
        """Return the scoped session; the table is there."""
        from sqlalchemy import event, text

        engine = self.db.engine
        if engine.dialect.name == "sqlite" and not event.contains(engine, "connect", _without_legacy_begin):
            event.listen(engine, "connect", _without_legacy_begin)
            event.listen(engine, "begin", _begin)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS shop_order (id TEXT PRIMARY KEY)"))
        return self.db.session

    @contextmanager
    def transaction(self, then: str) -> Iterator[Any]:
        """The session; its transaction ends as ``then`` says: commit, rollback, or a savepoint that is rolled back."""
        session = self.session()
        savepoint = session.begin_nested() if then == "savepoint" else None
        yield session
        if savepoint is not None:
            savepoint.rollback()
        (session.rollback if then == "rollback" else session.commit)()

    def add(self, id_: str) -> None:
        from sqlalchemy import text

        self.db.session.execute(text("INSERT INTO shop_order (id) VALUES (:id)"), {"id": id_})

    def ids(self) -> list[str]:
        from sqlalchemy import text

        with self._app.app_context():
            return list(self.session().scalars(text("SELECT id FROM shop_order")))

    def close(self) -> None:
        if self.db is not None:
            with self._app.app_context():
                self.db.engine.dispose()


def _without_legacy_begin(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


def _add_sagas(app: Flask, sagaz: SagazExtension, routes: Any, orders: Orders) -> None:
    @app.post("/inline/<saga>")
    def inline(saga: str) -> Any:
        try:
            run = sagaz.run_sync(
                sagaz.create_saga(routes[saga]),
                request.get_json(),
                saga_id=request.headers.get("Run-Id"),
                idempotency_key=request.headers.get("Idempotency-Key"),
                owner=request.headers.get("Owner"),
            )
        except Exception as error:
            return _told(error)
        return ran(run)

    @app.post("/background/<saga>")
    def background(saga: str) -> Any:
        try:
            owner = request.headers.get("Owner")
            saga_id = sagaz.run_background(sagaz.create_saga(routes[saga]), request.get_json(), owner=owner)
        except Exception as error:
            return _told(error)
        if request.args.get("then") == "raise":
            raise Boom(saga_id)
        return accepted(saga_id), 202

    @app.post("/deferred/<saga>")
    def deferred(saga: str) -> Any:
        deadline = request.headers.get("Deadline")
        try:
            saga_id = sagaz.start(
                routes[saga],
                request.get_json(),
                idempotency_key=request.headers.get("Idempotency-Key"),
                owner=request.headers.get("Owner"),
                deadline=datetime.fromisoformat(deadline) if deadline else None,
            )
        except Exception as error:
            return _told(error)
        return accepted(saga_id), 202

    @app.post("/joined/<saga>")
    def joined(saga: str) -> Any:
        context = request.get_json()
        try:
            with orders.transaction(request.args["then"]) as session:
                orders.add(context["id"])
                saga_id = sagaz.start(routes[saga], context, session=session, owner=request.headers.get("Owner"))
        except Exception as error:
            return _told(error)
        return accepted(saga_id), 202


def _add_once(app: Flask, sagaz: SagazExtension, name: str, saga: type, orders: Orders) -> None:
    location = "/runs/{saga_id}"

    @app.post(f"/once/{name}", endpoint=f"once {name}")
    @idempotent(saga, caller=_user, location=location)
    def once_() -> Response:
        saga_id = sagaz.start(saga, request.get_json())
        Driver.arrived.set()
        Driver.gate.wait(30)
        return _answered(saga_id)

    if orders.db is None:
        return

    @app.post(f"/once-joined/{name}", endpoint=f"once joined {name}")
    @idempotent(saga, caller=_user, session=orders.db.session, location=location)
    def once_joined() -> Response:
        context = request.get_json()
        orders.add(context["id"])
        saga_id = sagaz.start(saga, context, session=orders.db.session)
        Driver.arrived.set()
        Driver.gate.wait(30)
        return _answered(saga_id)


def _user() -> str | None:
    return request.headers.get("User")


def _answered(saga_id: str) -> Response:
    then = request.headers.get("Then", "")
    if then == "stream":
        return Response(pieces(), 202)
    return Response(*once(saga_id, then))


def _add_signals(app: Flask, sagaz: SagazExtension, orders: Orders) -> None:
    @app.post("/signals/<name>")
    def signal(name: str) -> Any:
        body = request.get_json()
        try:
            if "then" not in request.args:
                return signalled(_sent(sagaz, name, body))
            with orders.transaction(request.args["then"]) as session:
                orders.add(body["payload"]["id"])
                new = _sent(sagaz, name, body, session)
        except Exception as error:
            return _told(error)
        return signalled(new)


def _sent(sagaz: SagazExtension, name: str, body: Any, session: Any = None) -> bool:
    if "by" not in body:
        return sagaz.send_signal(name, body["payload"], **body["to"], session=session)
    token = sagaz.sagas.approval_token(name, **body["to"])
    return sagaz.sagas.decide_approval_sync(token, body["payload"], by=body["by"], reason="asked", session=session)


def _add_routes(app: Flask, sagaz: SagazExtension, sagas: Any) -> None:
    routes = sagaz.blueprint(
        authorize=lambda asked, verb, subject: permits(asked.headers.get("User", ""), verb, subject),
        actor=lambda asked: who(asked.headers["User"]),
        shows=["order"],
        longest_wait=5,
    )
    app.register_blueprint(routes)
    app.register_blueprint(sagaz.health_blueprint())
    app.register_blueprint(webhook_blueprint(webhook_sources()))
    sagaz.add_problem_handlers(app)

    @app.post("/accepted/<saga>")
    def start_and_watch(saga: str) -> Response:
        saga_id = sagaz.start(sagas[saga], request.get_json(), owner=request.headers.get("Owner"))
        return routes.accepted(sagas[saga], saga_id)

    @app.post("/unhandled/<saga>")
    def unhandled(saga: str) -> Any:
        if "then" in request.args:
            raise raised(request.args["then"])
        key = request.headers.get("Idempotency-Key")
        return accepted(sagaz.start(sagas[saga], request.get_json(), idempotency_key=key))


def _told(error: Exception) -> Any:
    status, body = told(error)
    return body, status


def _add_others(app: Flask) -> None:
    @app.get("/whoami")
    def who_is_it() -> Any:
        return whoami()

    @app.get("/stream")
    def stream() -> Response:
        return Response(pieces(), mimetype="text/plain")

    @app.get("/boom")
    def boom() -> None:
        raise Boom

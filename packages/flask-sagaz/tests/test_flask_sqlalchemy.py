"""Flask-SQLAlchemy: runs that are committed with the request's session or not at all, and sessions inside of steps."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from flask_sqlalchemy import SQLAlchemy

from flask_sagaz import IdempotencyConflict, Overloaded, Saga, SettingsError, WrongDatabase, action
from sagaz_integration_core.contract.events import EventFilter
from sagaz_integration_core.contract.listings import RunFilter
from support import pg


@pytest.fixture(scope="session")
def postgres():
    if reason := pg.why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    with pg.shared_server() as url:
        yield url


@pytest.fixture
def make_database(tmp_path, request):
    """Makes databases of a kind, and returns their addresses for us and for SQLAlchemy."""
    with ExitStack() as stack:

        def make(kind, name="shop"):
            if kind == "sqlite":
                return (f"sqlite:///{tmp_path / name}.db",) * 2
            url = stack.enter_context(pg.database(request.getfixturevalue("postgres")))
            return url, url.replace("postgresql://", "postgresql+psycopg://")

        yield make


class Shop:
    """An application with an order table beside the saga tables."""

    def __init__(self, make_app, urls, OrderSaga, **config):
        storage_url, database_url = urls
        settings = {"SAGAZ_MIGRATE": True, "SAGAZ_POOL_SIZE": 3, "SQLALCHEMY_DATABASE_URI": database_url, **config}
        self.app, self.sagaz = make_app(storage_url, config=settings, sagas=[OrderSaga])
        self.db = db = SQLAlchemy(self.app)

        class Order(db.Model):
            id = db.Column(db.String, primary_key=True)

        self.Order = Order

    def orders(self):
        return sorted(order.id for order in self.db.session.scalars(self.db.select(self.Order)))

    def runs(self):
        runtime = self.app.extensions["sagaz"].process().get()
        return runtime.call(lambda: runtime.store.find(RunFilter()))


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def shop(make_app, make_database, OrderSaga, kind):
    shop = Shop(make_app, make_database(kind), OrderSaga)
    with shop.app.app_context():
        shop.db.create_all()
        yield shop
        shop.db.session.remove()
        shop.sagaz.close()
        shop.db.engine.dispose()


def place(shop, OrderSaga, number, then="commit"):
    shop.db.session.add(shop.Order(id=f"order-{number}"))
    saga_id = shop.sagaz.start(OrderSaga, {"order_id": number}, session=shop.db.session)
    getattr(shop.db.session, then)()
    return saga_id


def test_a_committed_session_has_its_rows_and_its_run(shop, OrderSaga):
    saga_id = place(shop, OrderSaga, 1)
    assert shop.orders() == ["order-1"]
    assert [(run.saga_id, run.status) for run in shop.runs()] == [(saga_id, "pending")]


def test_a_session_that_is_rolled_back_has_neither(shop, OrderSaga):
    place(shop, OrderSaga, 1, then="rollback")
    assert (shop.orders(), shop.runs()) == ([], [])


def test_a_request_that_fails_leaves_neither(shop, OrderSaga):
    @shop.app.post("/orders")
    def order():
        shop.db.session.add(shop.Order(id="order-1"))
        shop.sagaz.start(OrderSaga, {"order_id": 1}, session=shop.db.session)
        shop.db.session.flush()
        raise LookupError("the request fails before its commit")

    shop.app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(LookupError):
        shop.app.test_client().post("/orders")
    shop.db.session.remove()
    assert (shop.orders(), shop.runs()) == ([], [])


@pytest.mark.parametrize("joins", [True, False])
def test_starts_are_refused_while_as_many_runs_are_due_as_a_setting_allows(shop, OrderSaga, joins):
    shop.app.config["SAGAZ_MAX_DUE"] = 2

    @shop.app.errorhandler(Overloaded)
    def later(error):
        shop.db.session.rollback()
        return {"detail": "Try again later."}, 503, {"Retry-After": str(error.retry_after)}

    @shop.app.post("/orders/<order_id>")
    def order(order_id):
        shop.db.session.add(shop.Order(id=order_id))
        shop.db.session.flush()
        if joins:
            shop.sagaz.start(OrderSaga, {"order_id": order_id}, session=shop.db.session)
        shop.db.session.commit()
        return {"saga_id": None if joins else shop.sagaz.start(OrderSaga, {"order_id": order_id})}

    answers = [shop.app.test_client().post(f"/orders/{n}") for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert shop.orders() == (["0", "1"] if joins else ["0", "1", "2"])
    assert len(shop.runs()) == 2
    with pytest.raises(Overloaded):
        shop.sagaz.start_many(OrderSaga, [{}])


def test_nobody_sees_the_run_before_the_commit(shop, OrderSaga):
    saga_id = shop.sagaz.start(OrderSaga, {"order_id": 1}, session=shop.db.session)
    assert shop.runs() == []
    shop.db.session.commit()
    assert [run.saga_id for run in shop.runs()] == [saga_id]


def test_many_runs_join_one_transaction(shop, OrderSaga):
    ids = shop.sagaz.start_many(OrderSaga, [{"order_id": n} for n in range(20)], session=shop.db.session)
    assert shop.runs() == []
    shop.db.session.commit()
    assert {run.saga_id for run in shop.runs()} == set(ids)


def test_a_key_means_one_run_in_every_session(shop, OrderSaga):
    ids = []
    for _ in range(2):
        ids.append(shop.sagaz.start(OrderSaga, {"n": 1}, session=shop.db.session, idempotency_key="k"))
        shop.db.session.commit()
    with pytest.raises(IdempotencyConflict):
        shop.sagaz.start(OrderSaga, {"n": 2}, session=shop.db.session, idempotency_key="k")
    shop.db.session.rollback()
    assert [run.saga_id for run in shop.runs()] == [ids[0]] == [ids[1]]


def test_a_worker_runs_what_was_committed(shop, make_app, OrderSaga, ended):
    saga_id = place(shop, OrderSaga, 1)
    config = {"SAGAZ_POOL_SIZE": 3}
    working, sagaz = make_app(shop.app.config["SAGAZ_STORAGE_URL"], config=config, sagas=[OrderSaga], worker=True)
    working.test_client().get("/")
    with working.app_context():
        assert ended(working, saga_id).status == "completed"
        sagaz.close()


def test_a_session_of_another_database_is_refused_and_the_binds_connection_is_accepted(
    make_app, make_database, OrderSaga, kind
):
    storage_url, bind_url = make_database(kind, "sagas")
    _, default_url = make_database(kind, "default")
    shop = Shop(make_app, (storage_url, default_url), OrderSaga, SQLALCHEMY_BINDS={"sagas": bind_url})

    class Parcel(shop.db.Model):
        __bind_key__ = "sagas"
        id = shop.db.Column(shop.db.String, primary_key=True)

    with shop.app.app_context():
        shop.db.create_all()
        session, engines = shop.db.session, shop.db.engines
        with pytest.raises(WrongDatabase):
            shop.sagaz.start(OrderSaga, {}, session=session)
        session.rollback()
        for then in ("rollback", "commit"):
            session.add(Parcel(id="p-1"))
            own = session.connection(bind_arguments={"bind": engines["sagas"]})
            shop.sagaz.start(OrderSaga, {}, session=own)
            getattr(session, then)()
            count = 1 if then == "commit" else 0
            assert len(shop.runs()) == len(session.scalars(shop.db.select(Parcel)).all()) == count
            session.remove()
        shop.sagaz.close()
        for engine in engines.values():
            engine.dispose()


def test_steps_use_sessions_of_their_own_which_are_removed(shop):
    class Storing(Saga):
        saga_name = "storing"

        @action("plain")
        def plain(self, ctx):
            self._add("plain")

        @action("async", depends_on=["plain"])
        async def in_loop(self, ctx):
            self._add("async")

        @action("forgets", depends_on=["async"])
        def forgets(self, ctx):
            shop.db.session.add(shop.Order(id="never committed"))
            shop.db.session.flush()

        def _add(self, name):
            sessions.append((name, shop.db.session()))
            shop.db.session.add(shop.Order(id=name))
            shop.db.session.commit()

    sessions = []
    mine = shop.db.session()
    shop.db.session.rollback()
    shop.sagaz.run_sync(shop.sagaz.create_saga(Storing), {})
    assert [name for name, session in sessions if session is not mine] == ["plain", "async"]
    assert shop.db.engine.pool.checkedout() == 0
    assert shop.orders() == ["async", "plain"]


def test_many_threads_start_runs_in_sessions_of_their_own(shop, OrderSaga):
    barrier, ids = threading.Barrier(8), []

    def client(number):
        barrier.wait(10)
        for n in range(5):
            with shop.app.app_context():
                ids.append(place(shop, OrderSaga, f"{number}-{n}"))

    threads = [threading.Thread(target=client, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(ids)) == 40
    assert {run.saga_id for run in shop.runs()} == set(ids)
    assert len(shop.orders()) == 40


@pytest.mark.parametrize("then", ["commit", "rollback"])
def test_an_event_is_committed_with_the_requests_rows_or_not_at_all(make_app, make_database, OrderSaga, kind, then):
    shop = Shop(make_app, make_database(kind), OrderSaga, SAGAZ_BROKER_URL="memory://")
    with shop.app.app_context():
        shop.db.create_all()
        shop.db.session.add(shop.Order(id="order-1"))
        event_id = shop.sagaz.publish(
            "orders.placed", {"order": 1}, session=shop.db.session, key="order-1", headers={"tenant": "a"}
        )
        getattr(shop.db.session, then)()
        runtime = shop.app.extensions["sagaz"].process().get()
        found = runtime.call(lambda: runtime.store.find_events(EventFilter()))
        assert [event.event_id for event in found] == ([event_id] if then == "commit" else [])
        assert len(shop.orders()) == len(found)
        shop.db.session.remove()
        shop.sagaz.close()
        shop.db.engine.dispose()


def test_an_event_without_a_session_commits_itself_and_comes_to_the_broker(make_app):
    app, sagaz = make_app(config={"SAGAZ_BROKER_URL": "memory://"})

    @app.post("/")
    def post():
        return sagaz.publish("orders.placed", {"order": 1})

    event_id = app.test_client().post("/", headers={"X-Correlation-ID": "c-1"}).text
    with app.app_context():
        runtime = app.extensions["sagaz"].process().get()
        sagaz.close()
    (message,) = runtime.broker.get_messages("orders.placed")
    assert (message["headers"]["event_id"], message["headers"]["correlation_id"]) == (event_id, "c-1")


def test_an_event_without_a_broker_is_refused_with_the_settings_name(make_app):
    app, sagaz = make_app()
    with app.app_context(), pytest.raises(SettingsError, match="SAGAZ_BROKER_URL"):
        sagaz.publish("orders.placed", {})


@pytest.mark.parametrize("kind", ["postgres"])
def test_a_step_that_waits_for_the_requests_own_transaction_is_told_of(shop, kind, caplog, monkeypatch):
    monkeypatch.setattr("sagaz_durable.concurrency.loop_bound.SLOW_SECONDS", 0.2)

    class Ship(Saga):
        @action("ship")
        def ship(self, ctx):
            shop.db.session.execute(shop.db.text("SET LOCAL lock_timeout = '2s'"))
            shop.db.session.execute(shop.db.update(shop.Order).values(id="shipped"))

    shop.db.session.add(shop.Order(id="order-1"))
    shop.db.session.commit()
    shop.db.session.execute(shop.db.update(shop.Order).values(id="paid"))
    with pytest.raises(Exception, match="lock timeout") as caught:
        shop.sagaz.run_sync(shop.sagaz.create_saga(Ship), {})
    why = "db.session is in a transaction of this same thread"
    assert why in "".join(caught.value.__notes__)
    assert why in caplog.text
    assert "Commit before run_sync" in caplog.text


def test_a_slow_run_without_a_transaction_is_nothing_to_tell(shop, caplog, monkeypatch):
    monkeypatch.setattr("sagaz_durable.concurrency.loop_bound.SLOW_SECONDS", 0.0)

    class Slow(Saga):
        @action("wait")
        def wait(self, ctx):
            threading.Event().wait(0.2)

    shop.db.session.commit()
    shop.sagaz.run_sync(shop.sagaz.create_saga(Slow), {})
    assert "db.session" not in caplog.text


@pytest.mark.parametrize("kind", ["postgres"])
def test_a_session_that_commits_in_two_phases_is_refused(shop, kind, OrderSaga):
    with shop.db.orm.Session(shop.db.engine, twophase=True) as session:
        session.add(shop.Order(id="order-1"))
        session.flush()
        with pytest.raises(TypeError, match=r"two phases \(twophase=True\).*NOTIFY.*without twophase"):
            shop.sagaz.start(OrderSaga, {"order_id": 1}, session=session)

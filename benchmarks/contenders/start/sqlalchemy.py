"""``Session.begin()`` with one ``add`` and a start, in several ways, on PostgreSQL and SQLite."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.contenders.start._committers import CONTEXT, committing
from benchmarks.harness.model import Measure, Place

Start = Callable[[Session], object]

_COLUMNS = "saga_id, saga_name, status, context, attempt, failures, available_at, created_at, updated_at, fingerprint"
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')"}


class Base(DeclarativeBase):
    """The tables of this shop."""


class Order(Base):
    """An order."""

    __tablename__ = "shop_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    amount: Mapped[int]


@contextmanager
def contender(place: Place) -> Iterator[Measure]:
    """Measure the way that the options name."""
    with ExitStack() as stack:
        engine = _engine(place)
        start = _WAYS[place.options["way"]](place, engine, stack)
        Base.metadata.create_all(engine)

        def commit() -> None:
            with Session(engine) as session, session.begin():
                session.add(Order(customer="someone", amount=3))
                # As an application has it that refers to the order in the saga's context.
                session.flush()
                start(session)

        at_once = (1, 4, 16) if place.postgres else (1,)
        yield stack.enter_context(committing(commit, at_once))


def _engine(place: Place) -> Engine:
    if place.postgres:
        return create_engine(place.postgres.replace("postgresql", "postgresql+psycopg", 1), pool_size=16)
    engine = create_engine(f"sqlite:///{place.folder}/shop.db")

    @event.listens_for(engine, "connect")
    def _durable(connection: object, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[attr-defined]
        connection.execute("PRAGMA synchronous=FULL")  # type: ignore[attr-defined]

    return engine


def _with_tables(place: Place, stack: ExitStack) -> Start:
    """Have the tables of a Flask application; its ``start`` joins any session."""
    from flask import Flask

    from benchmarks.sagas import QuietSaga
    from flask_sagaz import SagazExtension

    app = Flask("shop")
    app.config["SAGAZ_MIGRATE"] = True
    sagaz = SagazExtension(app, storage_url=place.postgres or f"sqlite:///{place.folder}/shop.db", sagas=[QuietSaga])
    with app.app_context():
        # Opens the store, which makes the tables.
        sagaz.start(QuietSaga, CONTEXT)

    def start(session: Session) -> None:
        with app.app_context():
            sagaz.start(QuietSaga, CONTEXT, session=session)

    def close() -> None:
        with app.app_context():
            sagaz.close()

    stack.callback(close)
    return start


def _ours(place: Place, engine: Engine, stack: ExitStack) -> Start:
    return _with_tables(place, stack)


def _by_hand(place: Place, engine: Engine, stack: ExitStack) -> Start:
    """Do what is needed and nothing else, in an application context, too."""
    _with_tables(place, stack)
    from flask import Flask

    app = Flask("shop")
    name = engine.dialect.name
    now, context = _NOW[name], "CAST(:context AS jsonb)" if name == "postgresql" else ":context"
    insert = (
        f"INSERT INTO sagaz_run ({_COLUMNS}) "
        f"VALUES (:saga_id, 'QuietSaga', 'pending', {context}, 0, 0, {now}, {now}, {now}, :fingerprint)"
    )
    statement = text(insert + (" RETURNING pg_notify('sagaz_public', '')" if name == "postgresql" else ""))

    def start(session: Session) -> None:
        written = json.dumps(CONTEXT)
        with app.app_context():
            session.execute(
                statement,
                {
                    "saga_id": str(uuid.UUID(bytes=os.urandom(16), version=4)),
                    "context": written,
                    "fingerprint": hashlib.sha256(written.encode()).hexdigest(),
                },
            )

    return start


def _nothing(place: Place, engine: Engine, stack: ExitStack) -> Start:
    return lambda session: None


def _dbos(place: Place, engine: Engine, stack: ExitStack) -> Start:
    """Enqueue a workflow in the session's transaction."""
    from benchmarks.contenders.worker._dbos import Enqueuer, migrate

    migrate(place.postgres)
    client = Enqueuer(place.postgres)
    stack.callback(client.close)
    return lambda session: client.enqueue_in(session.connection(), 1)


_WAYS: dict[str, Callable[[Place, Engine, ExitStack], Start]] = {
    "ours": _ours,
    "hand": _by_hand,
    "nothing": _nothing,
    "DBOS": _dbos,
}

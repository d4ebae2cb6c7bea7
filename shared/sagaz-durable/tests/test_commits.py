"""What is to be done after a commit of SQLAlchemy's is done after it, once, and never after a rollback."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from sagaz_durable.transactions.commit_hooks import after_commit


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    with Session(engine) as session:
        session.execute(text("CREATE TABLE t (n INTEGER)"))
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def begin(session):
    """Write a row through the session, and note what is called after its commit."""

    def begin(n, session=session):
        session.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})
        after_commit(session, lambda: called.append(n))

    called: list[int] = []
    begin.called = called
    return begin


def test_without_a_session_it_is_done_at_once():
    called = []
    after_commit(None, lambda: called.append(1))
    assert called == [1]


def test_a_commit_is_waited_for_and_does_it_once(session, begin):
    begin(1)
    begin(2)
    assert begin.called == []
    session.commit()
    assert begin.called == [1, 2]
    begin(3)
    session.commit()
    assert begin.called == [1, 2, 3]


def test_a_rollback_takes_it_back(session, begin):
    begin(1)
    session.rollback()
    session.execute(text("SELECT 1"))
    session.commit()
    assert begin.called == []


def test_a_session_that_is_closed_without_a_commit_takes_it_back(session, begin):
    begin(1)
    session.close()
    session.execute(text("SELECT 1"))
    session.commit()
    assert begin.called == []


def test_a_savepoint_that_is_rolled_back_takes_back_what_began_in_it(session, begin):
    begin(1)
    with session.begin_nested():
        begin(2)
        lost = session.begin_nested()
        begin(3)
        with session.begin_nested():
            begin(4)
        lost.rollback()
    assert begin.called == []
    session.commit()
    assert begin.called == [1, 2]


def test_a_released_savepoint_waits_for_the_transaction_around_it(session, begin):
    with session.begin_nested():
        begin(1)
    session.rollback()
    assert begin.called == []
    nested = session.begin_nested()
    begin(2)
    session.commit()
    assert (nested.is_active, begin.called) == (False, [2])


def test_a_commit_of_sessions_that_are_begun_by_blocks(session, begin):
    session.rollback()
    with session.begin():
        begin(1)
    with suppress(ZeroDivisionError), session.begin():
        begin(2)
        raise ZeroDivisionError
    assert begin.called == [1]


def test_a_scoped_session_is_the_session_of_its_thread(session, begin):
    scoped = scoped_session(sessionmaker(session.get_bind()))
    begin(1, scoped)
    scoped.commit()
    begin(2, scoped)
    scoped.remove()
    assert begin.called == [1]


def test_a_long_lived_session_does_not_collect_listeners(session, begin):
    for n in range(100):
        begin(n)
        session.commit()
    assert begin.called == list(range(100))
    assert len(session.dispatch.after_commit) == len(session.dispatch.after_transaction_end) == 1


def test_nobody_tells_of_the_commit_of_a_bare_connection(session):
    called = []
    with session.get_bind().connect() as connection:
        connection.begin()
        after_commit(connection, lambda: called.append(1))
        connection.commit()
    after_commit(object(), lambda: called.append(2))
    assert called == []

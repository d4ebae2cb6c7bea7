"""Doing something when the caller's own transaction has been committed, and not at all when it is rolled back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["after_commit"]

_KEY = "sagaz_after_commit"

Hook = Callable[[], None]


def after_commit(session: Any, hook: Hook) -> None:
    """Call ``hook`` after the commit that makes durable what was written through ``session``.

    Only SQLAlchemy's sessions tell of that. Nobody learns of the commit of a bare connection: the hook is not called.

    Args:
        session: None when it is committed already: the hook is called at once.
        hook: Raises nothing, and writes nothing through the session.
    """
    if session is None:
        hook()
        return
    orm, event = sys.modules.get("sqlalchemy.orm"), sys.modules.get("sqlalchemy.event")
    if orm is None or event is None:
        return
    if isinstance(session, orm.scoped_session):
        session = session()
    if not isinstance(session, orm.Session):
        return
    hooks: _Hooks | None = session.info.get(_KEY)
    if hooks is None:
        # Once for each session: SQLAlchemy keeps listeners, those of once=True too, as long as the session lives.
        hooks = session.info[_KEY] = _Hooks()
        event.listen(session, "after_commit", hooks.committed)
        event.listen(session, "after_transaction_end", hooks.ended)
    hooks.add(session, hook)


class _Hooks:
    """The hooks of a session's open transactions: its savepoints, and the outermost one."""

    def __init__(self) -> None:
        self._waiting: dict[Any, list[Hook]] = {}

    def add(self, session: Any, hook: Hook) -> None:
        self._waiting.setdefault(_current(session), []).append(hook)

    def committed(self, session: Any) -> None:
        """A savepoint's hooks now depend on the transaction around it; those of the outermost one are called."""
        transaction = _current(session)
        hooks = self._waiting.pop(transaction, [])
        if transaction is not None and transaction.nested:
            self._waiting.setdefault(_around(transaction), []).extend(hooks)
            return
        for hook in hooks:
            hook()

    def ended(self, session: Any, transaction: Any) -> None:
        """What is left then was rolled back."""
        self._waiting.pop(transaction, None)


def _current(session: Any) -> Any:
    return session.get_nested_transaction() or session.get_transaction()


def _around(savepoint: Any) -> Any:
    """Return the savepoint or transaction that a savepoint is in; a flush in between is neither."""
    outer = savepoint.parent
    while outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer

"""What a transactional step may not do with its session of SQLAlchemy, refused in place or found out afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sagaz_durable.transactions.database_errors import meaning
from sagaz_durable.transactions.step_statements import RETURN
from sagaz_integration_core.errors import StepError

__all__ = ["SessionGuard"]


class SessionGuard:
    """Watches one session while a step has it; psycopg's connections refuse commits by themselves.

    Args:
        session: Of SQLAlchemy, the synchronous one beneath an asynchronous one.
        connection: On which its transaction has begun.

    Attributes:
        open: Whether a commit is let through.
        has_committed: Whether it was found that the step has committed, before a rollback has hidden that.
    """

    def __init__(self, session: Any, connection: Any) -> None:
        self._session = session
        self._engine = connection.engine
        self._root = session.get_transaction()
        self.open = self.has_committed = False
        self._watched: list[tuple[Any, str, Callable[..., None]]] = []
        self._watch(session, "before_commit", self._refuse_commit)
        self._watch(session, "after_begin", self._refuse_other)
        # Old versions know no events of the connections of an engine that execution_options() has made. There a commit
        # on the connection itself is found out when the step has ended, unless a rollback follows it.
        with suppress(sys.modules["sqlalchemy.exc"].InvalidRequestError):
            self._watch(connection, "commit", self._refuse_its_commit)
            self._watch(connection, "rollback", self._look)

    def _watch(self, *watched: Any) -> None:
        sys.modules["sqlalchemy.event"].listen(*watched)
        self._watched.append(watched)

    @property
    def rolled_back(self) -> bool:
        """Whether the step has ended its transaction; a commit was refused, so that it was a rollback."""
        return self._session.get_transaction() is not self._root

    def _refuse_commit(self, session: Any) -> None:
        if not (self.open or session.in_nested_transaction()):
            raise StepError(
                "A transactional step has called commit() on its session. The session is committed by itself, together "
                "with the step's journal entry, when the step has returned: leave that out, or use "
                "session.begin_nested() for a part that may fail."
            )

    def _refuse_its_commit(self, connection: Any) -> None:
        if not self.open:
            raise StepError(
                "A transactional step has called commit() on its session's connection. It is committed by itself, "
                "together with the step's journal entry, when the step has returned: leave that out."
            )

    def _refuse_other(self, session: Any, transaction: Any, connection: Any) -> None:
        if connection.engine is not self._engine:
            shown = connection.engine.url.render_as_string(hide_password=True)
            raise StepError(
                f"The session of a transactional step has several engines, and the step has reached {shown}, whose "
                "transaction would not commit together with its journal entry. Do that in a step of its own, which is "
                "not transactional."
            )

    def _look(self, connection: Any) -> None:
        """Look, before a rollback, whether the transaction is still the one in which the step began."""
        if self.open:
            return
        try:
            connection.connection.cursor().execute(RETURN)
        except Exception as error:
            self.has_committed = self.has_committed or meaning(error) == "ended"

    def remove(self) -> None:
        """Let the session's later users do as they like."""
        for watched in self._watched:
            sys.modules["sqlalchemy.event"].remove(*watched)

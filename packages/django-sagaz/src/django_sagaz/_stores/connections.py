"""What is asked of Django's connections: whose transaction is open, and is it healthy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from django_sagaz._stores.session_state import has_changed
from django_sagaz.errors import AtomicBlockError

__all__ = [
    "commit_by_themselves", "distrust", "healthy", "in_test_case", "in_transaction", "own_connection",
    "refuse_transaction",
]  # fmt: skip


def in_transaction(connection: Any) -> bool:
    """Whether the user's own code has a transaction open; the atomic blocks of a ``TestCase`` are not the user's."""
    if connection.in_atomic_block:
        # The innermost first: mostly, it is the answer. Not any(), which takes three times as long.
        for block in reversed(connection.atomic_blocks):  # noqa: SIM110
            if not getattr(block, "_from_testcase", False):
                return True
        return False
    if connection.connection is None:
        # With the first statement there will be one.
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.get_autocommit()


def refuse_transaction(alias: str | None) -> None:
    """Refuse to run a saga on this thread's connections while a transaction is open on one of them.

    Args:
        alias: The database that the journal is in; None when neither journal nor steps use this thread.

    Raises:
        AtomicBlockError: With the reason and the ways out.
    """
    if alias is None:
        return
    if in_transaction(connections[alias]):
        raise _refusal(alias, "the journal of steps that were really done")
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and in_transaction(connection):
            raise _refusal(connection.alias, "there what its steps did, and the journal would still call them done")


def _refusal(alias: str, loss: str) -> AtomicBlockError:
    return AtomicBlockError(
        f"A transaction is open on database {alias!r}, and a saga cannot run inside it: a rollback would take back "
        f"{loss}. Start it instead with atomic_saga_start(…), for a worker to run after the commit; or run it before "
        f"or after the atomic block (under ATOMIC_REQUESTS, decorate the view with {_non_atomic(alias)})."
        + ("" if connections[alias].settings_dict["AUTOCOMMIT"] else " With AUTOCOMMIT=False there always is one.")
    )


def _non_atomic(alias: str) -> str:
    return "@transaction.non_atomic_requests" + ("" if alias == DEFAULT_DB_ALIAS else f"(using={alias!r})")


def in_test_case(connection: Any) -> bool:
    """Whether only this thread sees what is in the database: in a ``TestCase``, or in a database in memory."""
    if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        return True
    return bool(connection.vendor == "sqlite" and connection.is_in_memory_db())


def healthy() -> None:
    """Close this thread's connections that a step left broken, changed or in a transaction; the others are kept.

    Django's own ``close_old_connections`` would, by its defaults, close them all, after every step.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block or not connection.get_autocommit() or has_changed(connection):
            # What was not committed is not to be committed by the next step, which is another run's.
            _discard(connection)
        elif connection.errors_occurred:
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()


class _LastUse:
    """When a connection last executed something: one of its ``execute_wrappers``."""

    def __init__(self) -> None:
        self.at = float("-inf")

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        try:
            return execute(sql, params, many, context)
        finally:
            self.at = time.monotonic()


def distrust(idle_seconds: float) -> None:
    """Have Django replace what is dead of this thread's connections when a step uses them, rather than fail the step.

    Args:
        idle_seconds: After so long without a statement also those without ``CONN_HEALTH_CHECKS``: a server may have
            ended what was idle, however busy the thread was.
    """
    connection: Any
    now = time.monotonic()
    for connection in connections.all(initialized_only=True):
        use = next((wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, _LastUse)), None)
        if use is None:
            use = _LastUse()
            connection.execute_wrappers.insert(0, use)
        if connection.settings_dict["CONN_HEALTH_CHECKS"] or now - use.at > idle_seconds:
            connection.health_check_enabled, connection.health_check_done = True, False


def commit_by_themselves() -> None:
    """Have this thread's connections commit each statement, whatever ``AUTOCOMMIT`` says: they are ours alone.

    One that is open already is left as it is.
    """
    for alias in connections:
        connection: Any = connections[alias]
        if connection.connection is None and not connection.settings_dict["AUTOCOMMIT"]:
            connection.settings_dict = {**connection.settings_dict, "AUTOCOMMIT": True}


def own_connection(alias: str) -> Any:
    """Return another connection, which commits each statement: none of this thread's, and none of a pool's."""
    connection: Any = connections.create_connection(alias)
    options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "pool"}
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options, "AUTOCOMMIT": True}
    connection.inc_thread_sharing()
    return connection


def _discard(connection: Any) -> None:
    connection.close()
    # The wrapper would stay in its transaction until a block is left that nobody will leave.
    del connections[connection.alias]

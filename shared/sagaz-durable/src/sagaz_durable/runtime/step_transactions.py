"""In which transactions an application's transactional steps are called, and which sagas that refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.urls import parse_storage_url
from sagaz_durable.transactions.session_factory import SessionTransactions
from sagaz_durable.transactions.step_transactions import NoTransactions, StepTransactions
from sagaz_integration_core.errors import SagaDefinitionError

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import Registration

__all__ = ["refuse_untransactional", "step_transactions"]


def step_transactions(settings: Settings, session_factory: Callable[[], Any] | None) -> StepTransactions:
    """Return the transactions of an application whose store is not a framework's."""
    wording = settings.wording
    if parse_storage_url(settings.storage_url).kind == "memory":
        return NoTransactions(
            "runs are kept in memory, where there is no database for its transaction. Set "
            f"{wording.setting('storage_url')} (sqlite:///… or postgresql://…) to the database that the step uses"
        )
    if session_factory is None:
        return NoTransactions(
            f"nobody has said what makes its session. Give {wording.session_factory}: it returns a new session, or "
            "connection, on the database that runs are kept in"
        )
    return SessionTransactions(session_factory)


def refuse_untransactional(transactions: StepTransactions, registration: Registration) -> None:
    """Refuse a saga whose transactional steps could not be called here, as far as its class tells of them.

    Raises:
        SagaDefinitionError: Naming the step, what lacks and the fix.
    """
    if not any(node.transactional for node in registration.graph.nodes.values()):
        return
    from sagaz_durable._upstream.definitions import transactional_calls

    for what, is_async in transactional_calls(registration.saga_class):
        if (why := transactions.lacks(is_async=is_async)) is not None:
            raise SagaDefinitionError(f"{what} of saga {registration.name!r} is transactional, and {why}.")

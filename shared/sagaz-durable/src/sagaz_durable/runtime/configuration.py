"""What an application says about its sagas, known before anything is opened: what a start is checked against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.runtime.backpressure import Backlog
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.urls import parse_storage_url
from sagaz_durable.transactions.session_factory import SessionTransactions
from sagaz_durable.transactions.step_transactions import NoTransactions, StepTransactions
from sagaz_integration_core.errors import ContextMismatch, SagaDefinitionError

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import Registration, SagaSpec

__all__ = ["Configuration"]


class Configuration:
    """The settings and the sagas of one application, and who is told of its starts.

    Args:
        settings: Validated settings; by default those of the environment.
        config: The user's own ``SagaConfig``, if there is one.
        sagas: Saga classes, or (class, factory) pairs; or a registry of them.
        dispatch: See `SagazRuntime`.
        context_mismatch: See `SagazRuntime`.
        session_factory: Makes the sessions of transactional steps; see `SessionTransactions`.
        transactions: Those of a framework that has its own, instead.

    Attributes:
        settings: With the store that the ``SagaConfig`` implies.
        registry: The sagas that can be started and resumed here.
        backlog: What is known of the runs that are due; None without the setting ``max_due``.
        transactions: In which transactional steps are called; a saga that needs more than there is is refused.
        dispatch: None unless the setting ``dispatch`` is ``celery``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        config: Any = None,
        sagas: Iterable[SagaSpec] | SagaRegistry = (),
        dispatch: Callable[[Sequence[str]], None] | None = None,
        context_mismatch: type[ContextMismatch] = ContextMismatch,
        session_factory: Callable[[], Any] | None = None,
        transactions: StepTransactions | None = None,
    ) -> None:
        settings = settings if settings is not None else Settings.from_env()
        self.config = config
        self.context_mismatch = context_mismatch
        self.settings = settings if config is None else _with_store_of(config, settings)
        wording = self.settings.wording
        self.registry = sagas if isinstance(sagas, SagaRegistry) else SagaRegistry(sagas, wording=wording)
        self.backlog = None if self.settings.max_due is None else Backlog(self.settings.max_due, wording)
        self.transactions = transactions or _step_transactions(self.settings, session_factory)
        # A framework that has its own also finds sagas by itself, which nobody may want to start here.
        self.registry.refuse(partial(_refuse_untransactional, self.transactions), at_once=transactions is None)
        self.dispatch = dispatch if self.settings.dispatch == "celery" else None

    @property
    def publishes(self) -> bool:
        """Whether steps and outcomes are written to the outbox."""
        given = None if self.config is None else self.config.broker
        return self.settings.broker_url is not None or given is not None


def _with_store_of(config: Any, settings: Settings) -> Settings:
    # It imports sagaz, which takes a third of a second.
    from sagaz_durable._upstream.resources import settings_for

    return settings_for(settings, config)


def _step_transactions(settings: Settings, session_factory: Callable[[], Any] | None) -> StepTransactions:
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


def _refuse_untransactional(transactions: StepTransactions, registration: Registration) -> None:
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

"""What an application says about its sagas, known before anything is opened: what a start is checked against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.runtime.backpressure import Backlog
from sagaz_durable.runtime.step_transactions import refuse_untransactional, step_transactions
from sagaz_durable.settings.settings import Settings

if TYPE_CHECKING:
    from sagaz_durable.engine.registry import SagaSpec
    from sagaz_durable.transactions.step_transactions import StepTransactions

__all__ = ["Configuration"]


class Configuration:
    """The settings and the sagas of one application, and who is told of its starts.

    Args:
        settings: Validated settings; by default those of the environment.
        config: The user's own ``SagaConfig``, if there is one.
        sagas: Saga classes, or (class, factory) pairs; or a registry of them.
        dispatch: See `SagazRuntime`.
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
        session_factory: Callable[[], Any] | None = None,
        transactions: StepTransactions | None = None,
    ) -> None:
        settings = settings if settings is not None else Settings.from_env()
        self.config = config
        self.settings = settings if config is None else _with_store_of(config, settings)
        wording = self.settings.wording
        self.registry = sagas if isinstance(sagas, SagaRegistry) else SagaRegistry(sagas, wording=wording)
        self.backlog = None if self.settings.max_due is None else Backlog(self.settings.max_due, wording)
        self.transactions = transactions or step_transactions(self.settings, session_factory)
        self.registry.refuse(partial(refuse_untransactional, self.transactions))
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

"""`Sagas`: everything that an application's code does with its sagas, each verb in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagaz_durable.operations.approvals import Approvals
from sagaz_durable.operations.decisions import Decisions
from sagaz_durable.runtime.inline import InlineRuns
from sagaz_durable.runtime.publishing import Publications
from sagaz_durable.runtime.starting import Starts

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = ["Sagas"]


class Sagas(Starts, InlineRuns, Approvals, Publications, Decisions):
    """What can be done with the sagas of one application, for as long as its runtime is open.

    Each verb has two forms: ``await sagas.start(…)`` in asynchronous code, on any event loop, and
    ``sagas.start_sync(…)`` in synchronous code, in any thread but the event loop's. Transactions (``session=``) are
    joined where the call is made, by sessions of that kind. Framework plugins hand it out, and their own functions and
    methods of these names lead here.

    Args:
        runtime: That of the application, opened.
    """

    def __init__(self, runtime: SagazRuntime) -> None:
        super().__init__(runtime)
        Decisions.__init__(self, runtime)
